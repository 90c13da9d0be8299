"""Classifiers of text: BERT and its like, on batches of texts of like length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from model_types import tokens, weights
from model_types.base import VersionSpec
from model_types.classification.rows import Row
from model_types.classification.schema import Input


class TextClassifier:
    """A `…ForSequenceClassification` and its tokenizer; a row's features are its `tokens.Encoding`."""

    pass_rows = 32
    pass_budget = 1024
    pass_waste = 0.1

    def __init__(self, version: VersionSpec, device: str) -> None:
        """Raises `ModelUnavailable`."""
        tokenizer = weights.load_processor(AutoTokenizer, version)
        # Any: the annotations of transformers' models fit no concrete class.
        self.model: Any = weights.load(AutoModelForSequenceClassification, version, device)
        self._tokenizer = tokens.Tokenizer(tokenizer, self.model.config)

    def prepare(self, request: Input) -> Row:
        if request.text is None:
            raise ValueError("this model classifies texts: give it text instead of image")
        encoding = self._tokenizer(request.text)
        count = tokens.size(encoding)
        return Row(encoding, request.top_k, size=count, tokens=count)

    def logits(self, rows: Sequence[Row]) -> Tensor:
        batch = self._tokenizer.padded([row.features for row in rows], self.model.device)
        logits: Tensor = self.model(**batch).logits
        return logits

    def blank(self) -> Row:
        return self.prepare(Input(text="warm up"))
