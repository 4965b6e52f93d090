"""What a mutation does to a model's predictions: of a VCF's alleles, of every base of a region, of protein residues."""

from seqclass.data.genome import Genome
from seqclass.variants.background import Background
from seqclass.variants.proteins import DeepMutationalScan, Substitutions
from seqclass.variants.region import RegionSubstitutions
from seqclass.variants.score import score_variants
from seqclass.variants.vcf_variants import VcfVariants

__all__ = [
    "Background",
    "DeepMutationalScan",
    "Genome",
    "RegionSubstitutions",
    "Substitutions",
    "VcfVariants",
    "score_variants",
]
