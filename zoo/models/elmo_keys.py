"""The key table of ELMo: how the names of bilm-tf and AllenNLP become ours, and what their authors stored otherwise.

TensorFlow keeps the gates of an LSTM in the order input, cell, forget, output, adds 1 to the forget gate while it runs,
and has input and hidden state in one matrix; AllenNLP has our order and the 1 in the bias, in two matrices. TensorFlow
matrices are [in, out]. AllenNLP's highway gate says what is kept instead of what is new, so its sign differs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.elmo_files import CNN, ELMO, LSTM, MIX
from zoo.weights.keymap import Join, Rename, Rule

# What does not have the shape that an operation expects is passed on as it is: the loader then says which it is.


def turned(tensor: Tensor) -> Tensor:
    """[in, out] -> [out, in]; a bias stays as it is."""
    return tensor.t().contiguous() if tensor.dim() == 2 else tensor


def convolution(tensor: Tensor) -> Tensor:
    """[1, width, in, out] -> [out, in, width]."""
    return tensor[0].permute(2, 1, 0).contiguous() if tensor.dim() == 4 and len(tensor) == 1 else tensor


def with_nothing(tensor: Tensor) -> Tensor:
    """A first row for id 0, "no word here", which the training files do not have: [261, E] -> [262, E]."""
    return torch.cat([torch.zeros_like(tensor[:1]), tensor]) if tensor.dim() == 2 else tensor


def reordered(tensor: Tensor) -> Tensor:
    """Gates input, cell, forget, output -> input, forget, cell, output, along the first dimension."""
    let_in, new, keep, let_out = tensor.chunk(4)
    return torch.cat([let_in, keep, new, let_out])


def lstm_weight(tensor: Tensor) -> Tensor:
    """[2D, 4C], input above hidden state -> [8C, D]."""
    if tensor.dim() != 2 or tensor.shape[0] % 2 or tensor.shape[1] % 4:
        return tensor
    return torch.cat(reordered(tensor.t()).chunk(2, dim=1))


def lstm_bias(tensor: Tensor) -> Tensor:
    """[4C] -> [4C] with the 1 that TensorFlow adds to the forget gate."""
    if tensor.dim() != 1 or len(tensor) % 4:
        return tensor
    bias = reordered(tensor)
    cells = len(bias) // 4
    bias[cells : 2 * cells] += 1
    return bias


def other_gate(tensor: Tensor) -> Tensor:
    """The gate of a highway, the lower half, with the other sign."""
    if tensor.dim() == 0 or len(tensor) % 2:
        return tensor
    made, gate = tensor.chunk(2)
    return torch.cat([made, -gate])


WORDS = "body.words."
BILM: tuple[Rule, ...] = (
    Rename("char_embed", WORDS + "embedding.weight", with_nothing),
    Rename("CNN/W_cnn_{i}", WORDS + "convolutions.{i}.weight", convolution),
    Rename("CNN/b_cnn_{i}", WORDS + "convolutions.{i}.bias"),
    *(
        Join(
            (f"CNN_high_{{i}}/{kind}_transform", f"CNN_high_{{i}}/{kind}_carry"),
            WORDS + "highways.{i}.both." + name,
            turned,
        )
        for kind, name in (("W", "weight"), ("b", "bias"))
    ),
    Rename("CNN_proj/W_proj", WORDS + "projection.weight", turned),
    Rename("CNN_proj/b_proj", WORDS + "projection.bias"),
    *(
        Rename(f"RNN_{number}/RNN/MultiRNNCell/Cell{{i}}/LSTMCell/{theirs}", f"body.{ours}s.{{i}}.{name}", op)
        for number, ours in ((0, "forward"), (1, "backward"))
        for theirs, name, op in (
            ("W_0", "weight", lstm_weight),
            ("B", "bias", lstm_bias),
            ("W_P_0", "projection.weight", turned),
        )
    ),
    Rename("softmax/W", "heads.lm.out.weight"),
    Rename("softmax/b", "heads.lm.out.bias"),
    *(Rename(source, f"heads.features.mix.{name}") for source, name in zip(MIX, ("weights", "gamma"), strict=True)),
)
ALLENNLP: tuple[Rule, ...] = (
    Rename(CNN + "_char_embedding_weights", WORDS + "embedding.weight"),
    Rename(CNN + "char_conv_{i}.{p}", WORDS + "convolutions.{i}.{p}"),
    Rename(CNN + "_highways._layers.{i}.{p}", WORDS + "highways.{i}.both.{p}", other_gate),
    Rename(CNN + "_projection.{p}", WORDS + "projection.{p}"),
    *(
        rule
        for way in ("forward", "backward")
        for theirs, ours in ((f"{LSTM}{way}_layer_{{i}}.", f"body.{way}s.{{i}}."),)
        for rule in (
            Join((theirs + "input_linearity.weight", theirs + "state_linearity.weight"), ours + "weight"),
            Rename(theirs + "state_linearity.bias", ours + "bias"),
            Rename(theirs + "state_projection.weight", ours + "projection.weight"),
        )
    ),
)
NLI: tuple[Rule, ...] = (
    Rename("_attend_feedforward._module._linear_layers.{i}.{p}", "heads.nli.attend.maps.{i}.{p}"),
    Rename("_compare_feedforward._module._linear_layers.{i}.{p}", "heads.nli.compare.maps.{i}.{p}"),
    Rename("_aggregate_feedforward._linear_layers.{i}.{p}", "heads.nli.aggregate.maps.{i}.{p}"),
)
LETTERS = "_text_field_embedder.token_embedder_token_characters."
QA: tuple[Rule, ...] = (
    Rename("_text_field_embedder.token_embedder_tokens.weight", "heads.qa.words.weight"),
    Rename(LETTERS + "_embedding._module.weight", "heads.qa.letters.embedding.weight"),
    Rename(LETTERS + "_encoder._module.conv_layer_{i}.{p}", "heads.qa.letters.convolutions.{i}.{p}"),
    Rename("_highway_layer._module._layers.{i}.{p}", "heads.qa.highways.{i}.both.{p}", other_gate),
    Rename("_matrix_attention._weight_vector", "heads.qa.similar"),
    Rename("_matrix_attention._bias", "heads.qa.similar_bias"),
    Rename("_span_start_predictor._module.{p}", "heads.qa.start.{p}"),
    Rename("_span_end_predictor._module.{p}", "heads.qa.end.{p}"),
    *(
        Rename(f"{theirs}._module.{{p}}_{kind}_l{{i}}{way}", f"heads.qa.{ours}.lstm.{{p}}_{kind}_l{{i}}{way}")
        for theirs, ours in (
            ("_phrase_layer", "phrase"),
            ("_modeling_layer", "model"),
            ("_span_end_encoder", "read_end"),
        )
        for kind in ("ih", "hh")
        for way in ("", "_reverse")
    ),
)


def rules(heads: tuple[str, ...], layers: int) -> tuple[Rule, ...]:
    """The table for a file with these heads; `layers` counts those that a mix weighs."""
    if "nli" not in heads and "qa" not in heads:
        return BILM
    (name,) = heads
    mix, ours = ELMO + "scalar_mix_0.", f"heads.{name}.mix."
    weights = tuple(f"{mix}scalar_parameters.{layer}" for layer in range(layers))
    mixed = (Join(weights, ours + "weights"), Rename(mix + "gamma", ours + "gamma"))
    return (*ALLENNLP, *mixed, *(NLI if name == "nli" else QA))
