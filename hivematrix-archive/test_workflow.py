#!/usr/bin/env python3
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "hivematrix-common"))
from hivematrix_common.launch import start

if __name__ == "__main__":
    start("hivematrix_archive.cli", "workflow")
