// Package model tests the API with random histories of requests, outages and operator
// commands.
//
// The model is what a client can know about its accounts and sessions from the responses
// so far. For each operation it says which responses are allowed and what follows from
// them (rules.go, operations.go). A player plays a history on two servers that share their
// stores, through proxies that fail on demand (player.go, outage.go). The first response
// that the model forbids fails the test, which then searches for a shorter history with
// the same failure.
//
// The model drives the API as a black box, through package apitest. Start with
// TestHistories; make check-model plays many histories.
package model
