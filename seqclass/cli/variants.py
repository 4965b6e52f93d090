"""`seqclass variants` and its alias `vep`: what mutations do to a model's predictions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from seqclass.cli.parsing import add_command, add_force, add_several
from seqclass.terminal import note, say

_WITH_VCF = ("pass_only", "sample", "genotype", "haplotypes", "chrom_alias", "exclude_chroms")


def add_variants_command(commands: Any) -> None:
    """Adds `variants` and `vep`."""
    for name, summary in (("variants", "score what mutations do"), ("vep", "the same as variants")):
        _add_options(add_command(commands, name, summary, _variants))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="folder of the bundle")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--vcf", help="the alleles of a VCF or BCF, plain or bgzip")
    what.add_argument(
        "--ism", metavar="REGION", help="every substitution in a region such as chrII:1000-1200; also draws a map"
    )
    what.add_argument(
        "--fasta", help="proteins: every substitution (deep mutational scan), or those of --substitutions"
    )
    parser.add_argument("--genome", help="FASTA of the genome, with --vcf and --ism")
    parser.add_argument(
        "--out",
        required=True,
        help="file to write: .tsv, .tsv.gz; .h5 for all targets and scores; .vcf, .vcf.gz or .bcf to annotate the VCF",
    )
    add_several(parser, "--target", "targets to show, names or beginnings of them (HDF5 always holds all)")
    parser.add_argument("--background", help="HDF5 result of unremarkable variants, for E-values")
    parser.add_argument(
        "--ref-mismatch",
        default="error",
        help="where REF is not the genome's: error, skip, or flag (score all the same) (default: %(default)s)",
    )
    add_several(parser, "--exclude-chroms", "chromosomes of the VCF to leave out")
    vcf = parser.add_argument_group("with --vcf")
    vcf.add_argument("--pass-only", action="store_true", help="leave out records whose FILTER is not PASS")
    vcf.add_argument("--sample", help="leave out alleles that this sample does not carry")
    vcf.add_argument("--genotype", help="of the sample's alleles: any, het or hom (default: any)")
    vcf.add_argument(
        "--haplotypes", action="store_true", help="put what stands on one chromosome of the sample into one window"
    )
    vcf.add_argument("--chrom-alias", help="table with two or more names of one chromosome a line")
    proteins = parser.add_argument_group("with --fasta")
    proteins.add_argument("--substitutions", help="table: protein, tab, A123V or A123V:L45P")
    add_force(parser)


def _variants(options: argparse.Namespace) -> None:
    from seqclass.atomic import check_free
    from seqclass.bundle import Bundle
    from seqclass.targets import find_target
    from seqclass.variants import (
        Background,
        DeepMutationalScan,
        Genome,
        RegionSubstitutions,
        Substitutions,
        VcfVariants,
        score_variants,
    )
    from seqclass.variants.region_map import RegionMap
    from seqclass.variants.score import Source, refuse_other_than_proteins, window_length
    from seqclass.variants.writers import Writer

    _refuse_idle_options(options)
    inputs = [options.vcf, options.fasta, options.genome, options.substitutions, options.background]
    check_free(options.out, options.force, inputs=(options.bundle, *inputs))
    bundle = Bundle.load(options.bundle)
    columns = [find_target(bundle.targets, name) for name in options.target]
    background = None if options.background is None else Background.read(options.background, bundle.targets)
    also: list[Writer] = []
    source: Source
    picture = None
    if options.fasta is not None:
        refuse_other_than_proteins(bundle)
        if options.substitutions is None:
            source = DeepMutationalScan(options.fasta, bundle)
        else:
            source = Substitutions(options.substitutions, options.fasta, bundle, ref_mismatch=options.ref_mismatch)
    elif options.ism is not None:
        picture = check_free(Path(options.out).with_suffix(".png"), options.force)
        region = source = RegionSubstitutions(options.ism, Genome(options.genome), window_length(bundle))
        drawn = RegionMap(region, bundle.targets, columns)
        also.append(drawn)
    else:
        length = window_length(bundle)
        source = VcfVariants(
            options.vcf,
            Genome(options.genome),
            length,
            pass_only=options.pass_only,
            sample=options.sample,
            genotype=options.genotype or "any",
            with_haplotypes=options.haplotypes,
            ref_mismatch=options.ref_mismatch,
            chrom_alias=options.chrom_alias,
            exclude_chroms=options.exclude_chroms,
        )
    notes = score_variants(
        bundle,
        source,
        options.out,
        targets=options.target,
        background=background,
        also=also,
        inputs=inputs,
        force=options.force,
    )
    for each in notes:
        note(each)
    if picture is not None:
        drawn.draw(picture, force=options.force)
        say(f"wrote {picture}")
    say(f"wrote {options.out}")


def _refuse_idle_options(options: argparse.Namespace) -> None:
    """Refuses options that would do nothing, rather than let them be taken for done."""
    idle = [name for name in _WITH_VCF if options.vcf is None and getattr(options, name)]
    if options.fasta is None and options.substitutions:
        idle.append("substitutions")
    if options.fasta is not None and options.genome:
        idle.append("genome")
    if idle:
        options.parser.error(f"these do not go together with what is scored: --{', --'.join(idle).replace('_', '-')}")
    if options.fasta is None and options.genome is None:
        options.parser.error("--genome is needed with --vcf and --ism")
