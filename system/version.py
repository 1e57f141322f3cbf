"""The one place where the version stands; CHANGELOG.md says what is in it."""

VERSION = "0.1.0"
