"""Text without annotations to rows of word pieces, some of them masked: the input of pretraining."""
