// Package tools is a module for programs that the tests run, so that what is behind them is not behind the gateway: the ACME
// server pebble, and its DNS server.
package tools
