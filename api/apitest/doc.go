// Package apitest lets tests check the program against the contracts in package api: [Validator] for HTTP, [Events] for
// messages.
//
// It does not promise that a response is the right one for its request, only that the contract allows it.
package apitest
