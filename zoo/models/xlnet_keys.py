"""The key table of XLNet: how the names of published files become ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from zoo.contracts import HeadSpec
from zoo.weights.keymap import Alias, KeyTable, Rename, Rule

if TYPE_CHECKING:
    from zoo.models.xlnet import XlnetConfig


def keys(config: XlnetConfig, heads: Mapping[str, HeadSpec], names: Collection[str]) -> KeyTable:
    """How published names become ours. The maps of attention are kept as [D, H, E]; a linear map is [out, in]."""
    shape = (config.d_model, config.n_head, config.head_size)

    def inward(tensor: Tensor) -> Tensor:  # another shape stays as it is, and is refused by the loader
        return tensor.flatten(1).t() if tensor.shape == shape else tensor  # [H*E, D]

    def outward(tensor: Tensor) -> Tensor:
        return tensor.flatten(1) if tensor.shape == shape else tensor  # [D, H*E]

    layer, block = "layer.{i}.", "body.blocks.{i}."
    attention = {"q": "query", "k": "key", "v": "value", "r": "place"}
    biases = {"r_w_bias": "content_bias", "r_r_bias": "place_bias", "r_s_bias": "segment_bias", "seg_embed": "segment"}
    summary = "choice" if "choice" in heads else "classifier"
    rules: list[Rule] = [
        Rename("word_embedding.weight", "body.word.weight"),
        Rename("mask_emb", "body.masked", lambda tensor: tensor.flatten()),  # [1, 1, D]
        *(Rename(f"{layer}rel_attn.{old}", f"{block}attention.{new}.weight", inward) for old, new in attention.items()),
        Rename(layer + "rel_attn.o", block + "attention.out.weight", outward),
        *(Rename(f"{layer}rel_attn.{old}", f"{block}attention.{new}") for old, new in biases.items()),
        Rename(layer + "rel_attn.layer_norm.{p}", block + "attention_norm.{p}"),
        Rename(layer + "ff.layer_1.{p}", block + "feed_forward.up.{p}"),
        Rename(layer + "ff.layer_2.{p}", block + "feed_forward.down.{p}"),
        Rename(layer + "ff.layer_norm.{p}", block + "feed_forward_norm.{p}"),
        Rename("lm_loss.bias", "heads.lm.bias"),
        Rename("sequence_summary.summary.{p}", f"heads.{summary}.pooler.dense.{{p}}"),
        Rename("logits_proj.{p}", f"heads.{summary}.out.{{p}}"),
        Rename("classifier.{p}", "heads.tokens.out.{p}"),
        Rename("qa_outputs.{p}", "heads.span.out.{p}"),
        Rename("start_logits.dense.{p}", "heads.span.start.{p}"),
        Rename("end_logits.dense_0.{p}", "heads.span.end_in.{p}"),
        Rename("end_logits.LayerNorm.{p}", "heads.span.end_norm.{p}"),
        Rename("end_logits.dense_1.{p}", "heads.span.end_out.{p}"),
        Rename("answer_class.dense_0.{p}", "heads.span.answer_in.{p}"),
        Rename("answer_class.dense_1.weight", "heads.span.answer_out.weight"),
    ]
    if config.tie_word_embeddings:
        rules.append(Alias("lm_loss.weight", "body.word.weight"))
    else:
        rules.append(Rename("lm_loss.weight", "heads.lm.embedding.weight"))
    return KeyTable(tuple(rules), prefix="transformer.")
