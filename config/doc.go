// Package config owns the settings of every program: their names, their defaults and their rules. Settings come from
// the environment and from nowhere else; a variable set to the empty string counts as unset. template.env in the
// project's root lists every variable.
//
// A program calls [Load] with its role once, at the start. Load returns one error that lists every problem, one per
// line. No error and no printed [Config] shows the value of a secret.
//
// It does not promise that a host exists or that a password is right: connecting shows that. It does not watch for
// changes, and fields that a role does not use stay at their zero value.
package config
