"""TorchANI, imported without its remark that CUDA extensions which nothing here uses are not built."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "The extensions: ", UserWarning)
    from torchani.aev import AEVComputer, ANIAngular, ANIRadial
    from torchani.arch import Assembler
    from torchani.paths import data_dir

__all__ = ["AEVComputer", "ANIAngular", "ANIRadial", "Assembler", "data_dir"]
