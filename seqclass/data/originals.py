"""The public data sets that `seqclass data fetch` knows: where they are, on what terms, and whom to cite."""

from __future__ import annotations

from dataclasses import dataclass

from seqclass.errors import find_name


@dataclass(frozen=True)
class RemoteFile:
    """A file of a public data set.

    Args:
        url: Where its publisher has it.
        path: Where it goes, relative to the data set's folder.
        checksum: As "sha256:..." or "md5:...", where it is public; "" where it is not.
        unpack: Whether it is a tar archive, to be unpacked beside itself.
    """

    url: str
    path: str
    checksum: str = ""
    unpack: bool = False


@dataclass(frozen=True)
class Original:
    """A public data set, as its publisher has it.

    Args:
        name: By which it is fetched.
        what: One sentence.
        licence: The terms, or what is known of them.
        citation: Whom to cite.
        files: All that is downloaded.
        size: About how much that is, "" where it is not known before.
    """

    name: str
    what: str
    licence: str
    citation: str
    files: tuple[RemoteFile, ...]
    size: str = ""


_UCSC = "https://hgdownload.soe.ucsc.edu/goldenPath"
_DEEPLOC = "https://services.healthtech.dtu.dk/services"
_PFAM = "https://storage.googleapis.com/brain-genomics-public/research/proteins/pfam"
_JASPAR = "https://jaspar.elixir.no/download/data/2022/CORE/JASPAR2022_CORE_"

_BILESCHI = "Bileschi et al., Nature Biotechnology 2022, doi:10.1038/s41587-021-01179-w; Mistry et al. (Pfam), NAR 2021"
_UCSC_TERMS = "free to use, see https://genome.ucsc.edu/conditions.html"


def _shards(split: str, count: int) -> list[RemoteFile]:
    names = [f"random_split/{split}/data-{number:05d}-of-{count:05d}" for number in range(count)]
    return [RemoteFile(f"{_PFAM}/{name}", name) for name in names]


ORIGINALS = (
    Original(
        "deepsea",
        "the training, validation and test windows of DeepSEA with 919 targets, MATLAB files in an archive",
        "CC BY 3.0",
        "Zhou and Troyanskaya, Nature Methods 2015, doi:10.1038/nmeth.3547",
        (
            RemoteFile(
                "http://deepsea.princeton.edu/media/code/deepsea_train_bundle.v0.9.tar.gz",
                "deepsea_train_bundle.v0.9.tar.gz",
                unpack=True,
            ),
        ),
        "several GB",
    ),
    Original(
        "deeploc-1.0",
        "14,004 eukaryotic proteins with their location and membrane flag, FASTA",
        "labels: DTU Health Tech, academic use; sequences: UniProt, CC BY 4.0",
        "Almagro Armenteros et al., Bioinformatics 2017, doi:10.1093/bioinformatics/btx431",
        (RemoteFile(f"{_DEEPLOC}/DeepLoc-1.0/deeploc_data.fasta", "deeploc_data.fasta"),),
        "8 MB",
    ),
    Original(
        "deeploc-2.0",
        "28,303 eukaryotic proteins with ten locations in five partitions, and the Human Protein Atlas test set, CSV",
        "labels: DTU Health Tech, academic use; sequences: UniProt, CC BY 4.0",
        "Thumuluri et al., Nucleic Acids Research 2022, doi:10.1093/nar/gkac278",
        tuple(
            RemoteFile(f"{_DEEPLOC}/DeepLoc-2.0/data/{name}", name)
            for name in ("Swissprot_Train_Validation_dataset.csv", "hpa_testset.csv")
        ),
    ),
    Original(
        "pfam-random",
        "the seed domains of Pfam 32 in 17,929 families, split at random, 100 CSV files",
        "CC0",
        _BILESCHI,
        (*_shards("train", 80), *_shards("dev", 10), *_shards("test", 10)),
    ),
    Original(
        "pfam-clustered",
        "the seed domains of Pfam 32, split so that test is at most 25 % identical to train, an archive",
        "CC0",
        _BILESCHI,
        (
            RemoteFile(
                f"{_PFAM}/clustered_split/pfam_clustered_split__train_dev_test.tar.gz",
                "pfam_clustered_split__train_dev_test.tar.gz",
                unpack=True,
            ),
        ),
    ),
    Original(
        "saccer3",
        "the genome of S. cerevisiae, R64-1-1 of April 2011, FASTA",
        _UCSC_TERMS,
        "Engel et al., G3 2014, doi:10.1534/g3.113.008995",
        (RemoteFile(f"{_UCSC}/sacCer3/bigZips/sacCer3.fa.gz", "sacCer3.fa.gz"),),
        "4 MB",
    ),
    Original(
        "hg19",
        "the human genome, GRCh37 of February 2009, FASTA",
        _UCSC_TERMS,
        "Church et al., PLoS Biology 2011, doi:10.1371/journal.pbio.1001091",
        (
            RemoteFile(
                f"{_UCSC}/hg19/bigZips/hg19.fa.gz", "hg19.fa.gz", checksum="md5:806c02398f5ac5da8ffd6da2d1d5d1a9"
            ),
        ),
        "950 MB",
    ),
    Original(
        "jaspar-2022",
        "the motifs of JASPAR 2022 CORE, vertebrates and plants, non-redundant, MEME format",
        "CC BY 4.0",
        "Castro-Mondragon et al., Nucleic Acids Research 2022, doi:10.1093/nar/gkab1113",
        tuple(
            RemoteFile(f"{_JASPAR}{taxon}_non-redundant_pfms_meme.txt", f"JASPAR2022_CORE_{taxon}.meme")
            for taxon in ("vertebrates", "plants")
        ),
        "1 MB",
    ),
)


def get_original(name: str) -> Original:
    """The public data set of that name.

    Raises:
        UnknownNameError: There is none.
    """
    by_name = {original.name: original for original in ORIGINALS}
    return by_name[find_name("public data set", name, by_name)]
