"""The two published models built on ELMo: decomposable attention for NLI, and BiDAF for question answering.

Parikh et al. 2016, "A Decomposable Attention Model for Natural Language Inference"; Seo et al. 2017, "Bidirectional
Attention Flow for Machine Comprehension"; as AllenNLP runs them (allennlp-models decomposable_attention.py, bidaf.py).
Both mix ELMo's layers with weights of their own, and read a pair as two sentences without the marks <S> and </S>.
N rows, B texts, P and Q words of a first and second sentence, D width, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from zoo.contracts import Batch
from zoo.layers.highway import Highway
from zoo.layers.scalar_mix import ScalarMix, sentences


@dataclass(frozen=True)
class NliConfig:
    """Decomposable attention. Widths are of the layers of each network; marks are words put around each sentence."""

    attend: list | tuple
    compare: list | tuple
    aggregate: list | tuple
    start_tokens: list | tuple
    end_tokens: list | tuple


@dataclass(frozen=True)
class QaConfig:
    """BiDAF. `letter_*` describe the network over the bytes of a word, the rest are named as in its config.json."""

    vocab_size: int
    embedding_dim: int
    letters: int
    letter_dim: int
    letter_filters: int
    letter_widths: list | tuple
    letter_padding: int
    letter_start: list | tuple
    letter_end: list | tuple
    num_highway_layers: int
    phrase_size: int
    phrase_layers: int
    modeling_size: int
    modeling_layers: int
    span_end_size: int
    span_end_layers: int


def pair_of(rows: Tensor, text: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """The rows of a text's two sentences without their marks, [P, D] and [Q, D]; [0, D] where there is no second."""
    parts = [rows[begin + 1 : end - 1] for begin, end in text]
    return parts[0], parts[1] if len(parts) > 1 else rows[:0]


class Layers(nn.Module):
    """Linear maps with ReLU between them, and after the last one if `closed`."""

    def __init__(self, width: int, widths: Sequence[int], closed: bool) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise((width, *widths)))
        self.closed = closed

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., the last width]."""
        for index, linear in enumerate(self.maps):
            x = linear(x)
            if self.closed or index + 1 < len(self.maps):
                x = x.relu()
        return x


class DecomposableAttention(nn.Module):
    """Align the words of both sentences, compare each with what it is aligned to, add up (section 3)."""

    def __init__(self, config: NliConfig, layers: int, width: int, norm: bool) -> None:
        super().__init__()
        self.mix = ScalarMix(layers, norm)
        self.attend = Layers(width, config.attend, closed=True)
        self.compare = Layers(2 * width, config.compare, closed=True)
        self.aggregate = Layers(2 * config.compare[-1], config.aggregate, closed=False)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, layers, D] -> [B, K]."""
        mixed = self.mix(rows, batch)  # [N, D]
        keys = self.attend(mixed)  # [N, A]
        sums = []
        for text in sentences(batch):
            (first, second), (first_keys, second_keys) = pair_of(mixed, text), pair_of(keys, text)
            similar = first_keys @ second_keys.T  # [P, Q]
            for_first = similar.softmax(1) @ second  # [P, D]
            for_second = similar.softmax(0).T @ first  # [Q, D]
            pairs = ((first, for_first), (second, for_second))
            compared = [self.compare(torch.cat(pair, dim=-1)).sum(0) for pair in pairs]  # [C] each
            sums.append(torch.cat(compared))  # [2C]
        return self.aggregate(torch.stack(sums))


class LetterCnn(nn.Module):
    """A word from its bytes: an embedding, convolutions, ReLU, the maximum over all places.

    Before version 1.3 AllenNLP let places behind the end of a word take part in the maximum, as many as the longest
    word of the same text has; the published weights were trained so, and so it is computed here.
    """

    def __init__(self, config: QaConfig) -> None:
        super().__init__()
        self.padding = config.letter_padding
        self.widths = tuple(config.letter_widths)
        self.embedding = nn.Embedding(config.letters, config.letter_dim)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.letter_dim, config.letter_filters, width) for width in config.letter_widths
        )
        self.out = config.letter_filters * len(config.letter_widths)

    def forward(self, ids: Tensor, longest: Tensor) -> Tensor:
        """ids [N, C], places of the longest word of the same text [N] -> [N, out]."""
        places = longest.clamp(min=self.padding)  # [N]
        room = max(*self.widths, int(places.max()), ids.shape[1])
        ids = nn.functional.pad(ids, (0, room - ids.shape[1]))  # [N, room]
        letters = self.embedding(ids) * (ids != 0)[..., None]  # [N, room, E]; padding is a vector of zeros
        found = []
        for width, conv in zip(self.widths, self.convolutions, strict=True):
            heard = conv(letters.transpose(1, 2)).relu()  # [N, filters, room - width + 1]
            begins = torch.arange(heard.shape[-1], device=ids.device)
            outside = begins + width > places[:, None]  # [N, room - width + 1]
            found.append(heard.masked_fill(outside[:, None], -torch.inf).amax(-1))  # [N, filters]
        return torch.cat(found, dim=-1)


class Bilstm(nn.Module):
    """A plain bidirectional LSTM over sentences of any lengths, empty ones included."""

    def __init__(self, width: int, size: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, size, layers, bidirectional=True)

    def forward(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Sentences [T, D] each -> [T, 2 * size] each."""
        full = [part for part in parts if len(part)]
        if not full:
            return [part.new_zeros(0, 2 * self.lstm.hidden_size) for part in parts]
        read = iter(unpack_sequence(self.lstm(pack_sequence(full, enforce_sorted=False))[0]))
        return [next(read) if len(part) else part.new_zeros(0, 2 * self.lstm.hidden_size) for part in parts]


class Bidaf(nn.Module):
    """Read question and passage, let each attend to the other, read again, score starts, then ends (section 2).

    A row of ids is ELMo's `width` characters, the id of the word in GloVe's vocabulary, and the bytes of the word.
    """

    def __init__(self, config: QaConfig, layers: int, width: int, norm: bool, characters: int) -> None:
        super().__init__()
        self.characters = characters
        self.mix = ScalarMix(layers, norm)
        self.letters = LetterCnn(config)
        self.words = nn.Embedding(config.vocab_size, config.embedding_dim)
        embedded = width + self.letters.out + config.embedding_dim
        phrase, model, last = 2 * config.phrase_size, 2 * config.modeling_size, 2 * config.span_end_size
        self.highways = nn.ModuleList(Highway(embedded) for _ in range(config.num_highway_layers))
        self.phrase = Bilstm(embedded, config.phrase_size, config.phrase_layers)
        self.similar = nn.Parameter(torch.zeros(3 * phrase))
        self.similar_bias = nn.Parameter(torch.zeros(1))
        self.model = Bilstm(4 * phrase, config.modeling_size, config.modeling_layers)
        self.start = nn.Linear(4 * phrase + model, 1)
        self.read_end = Bilstm(4 * phrase + 3 * model, config.span_end_size, config.span_end_layers)
        self.end = nn.Linear(4 * phrase + last, 1)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, layers, D] -> [N, 2], scores of start and end; minus infinity outside of the passage."""
        texts = sentences(batch)
        x = self._embed(rows, batch, texts)  # [N, E]
        pairs = [pair_of(x, text) for text in texts]
        read = self.phrase([part for pair in pairs for part in pair])  # [P, 2H] and [Q, 2H] of each text, in turn
        merged = [self._attend(question, passage) for question, passage in zip(read[::2], read[1::2], strict=True)]
        modeled = self.model(merged)  # [Q, 2M] each
        starts = [self.start(torch.cat(pair, dim=-1))[:, 0] for pair in zip(merged, modeled, strict=True)]  # [Q] each
        before_end = []
        for wide, deep, start in zip(merged, modeled, starts, strict=True):
            likely = (start.softmax(0) @ deep).expand_as(deep)  # [Q, 2M], what the start is likely to be
            before_end.append(torch.cat([wide, deep, likely, deep * likely], dim=-1))
        ends = [self.end(torch.cat(pair, dim=-1))[:, 0] for pair in zip(merged, self.read_end(before_end), strict=True)]
        scores = rows.new_full((len(rows), 2), -torch.inf)
        for text, start, end in zip(texts, starts, ends, strict=True):
            if len(text) > 1:
                begin, stop = text[1]
                scores[begin + 1 : stop - 1] = torch.stack([start, end], dim=-1)
        return scores

    def _embed(self, rows: Tensor, batch: Batch, texts: list[list[tuple[int, int]]]) -> Tensor:
        """ELMo, bytes and word of each row side by side, through the highways: [N, layers, D] -> [N, E]."""
        ids = batch.ids[:, self.characters :]
        letters = ids[:, 1:]  # [N, C]
        used = (letters != 0).sum(-1)  # [N]
        longest = torch.zeros_like(used)
        for text in texts:
            for begin, end in text:
                longest[begin:end] = used[begin + 1 : end - 1].max() if end - begin > 2 else 0
        x = torch.cat([self.mix(rows, batch), self.letters(letters, longest), self.words(ids[:, 0])], dim=-1)
        for highway in self.highways:
            x = highway(x)
        return x

    def _attend(self, question: Tensor, passage: Tensor) -> Tensor:
        """[P, 2H], [Q, 2H] -> the passage with what it has to do with the question, [Q, 8H] (equations 1 to 4)."""
        if not len(question) or not len(passage):
            return passage.repeat(1, 4)
        of_passage, of_question, of_both = self.similar.chunk(3)  # [2H] each
        similar = (
            (passage @ of_passage)[:, None]
            + (question @ of_question)
            + (passage * of_both) @ question.T
            + self.similar_bias
        )  # [Q, P]
        asked = similar.softmax(1) @ question  # [Q, 2H]
        matters = similar.amax(1).softmax(0) @ passage  # [2H]
        return torch.cat([passage, asked, passage * asked, passage * matters], dim=-1)
