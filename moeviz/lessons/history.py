"""How mixtures of experts came about: each step with the paper that took it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """year, what, idea in one sentence, and where to read it."""

    year: int
    what: str
    idea: str
    source: str


HISTORY = tuple(
    Step(*step)
    for step in (
        (1991, "Adaptive mixtures of local experts", "Several small networks and a gating network "
         "learn together, so that each network takes over a part of the task.",
         "Jacobs, Jordan, Nowlan, Hinton; Neural Computation 3(1)"),
        (1994, "Hierarchical mixtures", "Gates in a tree, fitted by expectation maximisation.",
         "Jordan, Jacobs; Neural Computation 6(2)"),
        (2013, "Experts inside a deep network", "Mixtures as layers, stacked on one another.",
         "Eigen, Ranzato, Sutskever; arXiv:1312.4314"),
        (2017, "The sparsely-gated layer", "Noisy top-k routing between LSTM layers: only a few of "
         "thousands of experts run for a token.", "Shazeer et al.; arXiv:1701.06538"),
        (2020, "GShard", "Top-2 experts in every other Transformer layer, 600 billion parameters, "
         "with a capacity for each expert.", "Lepikhin et al.; arXiv:2006.16668"),
        (2021, "Switch Transformers", "One expert a token is enough, with a simple balance loss.",
         "Fedus, Zoph, Shazeer; arXiv:2101.03961"),
        (2021, "BASE layers", "Assignment as a balanced matching problem, with no balance loss.",
         "Lewis et al.; arXiv:2103.16716"),
        (2021, "V-MoE", "Experts for images, and batch prioritised routing.",
         "Riquelme et al.; arXiv:2106.05974"),
        (2021, "GLaM", "A 1.2 trillion parameter decoder that uses 8 % of them for a token.",
         "Du et al.; arXiv:2112.06905"),
        (2022, "ST-MoE", "What keeps training stable: the router z-loss.",
         "Zoph et al.; arXiv:2202.08906"),
        (2022, "Expert choice", "Experts choose tokens: perfect balance, but not causal.",
         "Zhou et al.; arXiv:2202.09368"),
        (2022, "MegaBlocks", "Block-sparse kernels that need no capacity: nothing is dropped.",
         "Gale et al.; arXiv:2211.15841"),
        (2023, "Soft MoE", "Every expert reads a weighted mix of all tokens.",
         "Puigcerver et al.; arXiv:2308.00951"),
        (2024, "Mixtral", "Open weights: 8 experts, top-2. Its authors find it level with or above "
         "Llama 2 70B, at 13 billion active parameters.", "Jiang et al.; arXiv:2401.04088"),
        (2024, "DeepSeekMoE and DeepSeek-V2", "Many small experts, shared experts, and a choice "
         "limited to groups.", "Dai et al.; arXiv:2401.06066 and arXiv:2405.04434"),
        (2024, "Loss-free balancing", "A bias for each expert, moved by a fixed step, in place of "
         "a balance loss.", "Wang et al.; arXiv:2408.15664"),
        (2024, "OLMoE", "Everything open: data, code, checkpoints, and a study of its routing.",
         "Muennighoff et al.; arXiv:2409.02060"),
        (2024, "DeepSeek-V3", "671 billion parameters, 37 billion active, 256 experts and one "
         "shared, sigmoid scores with a balancing bias.", "DeepSeek-AI; arXiv:2412.19437"),
        (2025, "Qwen3", "128 experts, top-8, without shared experts; balance over the whole batch.",
         "Qwen team; arXiv:2505.09388"),
        (2025, "gpt-oss", "Open weights by OpenAI: 32 or 128 experts, top-4, in four-bit floats.",
         "OpenAI; arXiv:2508.10925"),
    )
)  # fmt: skip
