#!/usr/bin/env python3
"""Writes a small model with random weights that llama.cpp really runs.

Usage: tiny_gguf.py OUTPUT.gguf

A llama with about five million weights (10 MB as 16-bit floats). Its vocabulary is a real one:
pieces learned by byte-pair encoding from the English text in Python's own help pages, with a
byte for everything else, so that prompts have about as many tokens as under a real model. What
it says is noise. Byte tokens are never likely: half a letter would be held back by the server
and its chunks would no longer be its tokens. Needs numpy and gguf.
"""

import collections
import os
import pydoc_data.topics
import re
import sys

import gguf
import numpy

SEED = 20240229
LAYERS = 5
WIDTH = 256
HEADS = 4
FEED_FORWARD = 768
CONTEXT = 131072
PIECES = 1700
# Spread of the answers' scores: wide enough that 40 candidates stand out, as sampling needs.
OUTPUT_SPREAD = 0.3

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '[' + message['role'] + '] ' + message['content'] + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)


def learn_pieces(count):
    """Pieces in the order they were learned; SentencePiece's mark stands for a space."""
    text = " ".join(pydoc_data.topics.topics.values())
    words = collections.Counter(re.findall(r"[A-Za-z]+|[0-9.,;:()'\"-]", text))
    parts = {"\u2581" + word: list("\u2581" + word) for word, _ in words.most_common(3000)}
    weight = {"\u2581" + word: n for word, n in words.items()}
    letters = sorted({c for pieces in parts.values() for c in pieces})
    learned = list(letters)
    while len(learned) < count:
        pairs = collections.Counter()
        for word, pieces in parts.items():
            for pair in zip(pieces, pieces[1:]):
                pairs[pair] += weight[word]
        # The text breaks ties, so that every run learns the same.
        (left, right), _ = min(pairs.items(), key=lambda item: (-item[1], item[0]))
        learned.append(left + right)
        for word, pieces in parts.items():
            if left in pieces:
                parts[word] = merge(pieces, left, right)
    return learned


def merge(pieces, left, right):
    merged = []
    for piece in pieces:
        if merged and merged[-1] == left and piece == right:
            merged[-1] = left + right
        else:
            merged.append(piece)
    return merged


def vocabulary():
    """Texts, scores and kinds of all tokens."""
    kind = gguf.TokenType
    tokens = [("<unk>", 0.0, kind.UNKNOWN), ("<s>", 0.0, kind.CONTROL), ("</s>", 0.0, kind.CONTROL)]
    tokens += [(f"<0x{byte:02X}>", 0.0, kind.BYTE) for byte in range(256)]
    # The earlier a piece was learned, the earlier it is put together.
    tokens += [(piece, -float(rank), kind.NORMAL) for rank, piece in enumerate(learn_pieces(PIECES))]
    return tokens


def write_model(path):
    tokens = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("kitt tiny random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _, _ in tokens])
    writer.add_token_scores([score for _, score, _ in tokens])
    writer.add_token_types([kind for _, _, kind in tokens])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    add_weights(writer, len(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_weights(writer, vocabulary_size):
    random = numpy.random.default_rng(SEED)

    def matrix(rows, columns, spread):
        return random.normal(0.0, spread, (rows, columns)).astype(numpy.float16)

    ones = numpy.ones(WIDTH, dtype=numpy.float32)
    spread = WIDTH**-0.5
    writer.add_tensor("token_embd.weight", matrix(vocabulary_size, WIDTH, 1.0))
    for layer in range(LAYERS):
        name = f"blk.{layer}."
        writer.add_tensor(name + "attn_norm.weight", ones)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(name + part + ".weight", matrix(WIDTH, WIDTH, spread))
        writer.add_tensor(name + "ffn_norm.weight", ones)
        writer.add_tensor(name + "ffn_gate.weight", matrix(FEED_FORWARD, WIDTH, spread))
        writer.add_tensor(name + "ffn_up.weight", matrix(FEED_FORWARD, WIDTH, spread))
        writer.add_tensor(name + "ffn_down.weight", matrix(WIDTH, FEED_FORWARD, FEED_FORWARD**-0.5))
    writer.add_tensor("output_norm.weight", ones)
    output = matrix(vocabulary_size, WIDTH, OUTPUT_SPREAD)
    # Score 0 for <unk>, <s> and the bytes, far below the best of all others. </s> is more
    # likely than most words: a server that does not heed ignore_eos is found out.
    output[:2] = 0
    output[3:259] = 0
    output[2] *= 1.5
    writer.add_tensor("output.weight", output)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: tiny_gguf.py OUTPUT.gguf")
    path = sys.argv[1]
    # A half-written model never looks whole.
    partial = path + ".part"
    write_model(partial)
    os.replace(partial, path)


if __name__ == "__main__":
    main()
