"""Tests of densepose; a package so that every test file can import the tiny data set."""
