// Package apitest lets tests check what the program says against the contracts in package api: Validator for HTTP,
// Events for messages.
//
// It does not tell whether an answer is the right one for its request, only whether the contract allows it.
package apitest
