"""The one place the release number is written."""

VERSION = "0.1.0"
