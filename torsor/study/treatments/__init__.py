"""One file per treatment, or per family of treatments: every module here is imported by itself."""
