"""The packaged sample: small, real, openly licensed corpora, described in this folder's README.md."""
