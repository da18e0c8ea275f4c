package config

import (
	"fmt"
	"strings"
)

// Problem is one variable that does not do. Its text never contains the value of a secret.
type Problem struct {
	Variable string
	Wrong    string // continues "VARIABLE …": "is not set"
	Fix      string // an imperative: "set it to …"
}

// Problems is everything wrong with a configuration; as an error it has one line per problem.
type Problems []Problem

func (p Problems) Error() string {
	var b strings.Builder
	b.WriteString("the configuration is not usable:")
	for _, problem := range p {
		fmt.Fprintf(&b, "\n  %s %s; %s", problem.Variable, problem.Wrong, problem.Fix)
	}
	return b.String()
}

// of answers the problems that concern role, the first one of every variable: a value that cannot be read would
// otherwise be reported a second time as missing. nil when there is none.
func (p Problems) of(role Role) error {
	var kept Problems
	seen := map[string]bool{}
	for _, problem := range p {
		if seen[problem.Variable] || !role.uses(problem.Variable) {
			continue
		}
		seen[problem.Variable] = true
		kept = append(kept, problem)
	}
	if kept == nil {
		return nil
	}
	return kept
}

// check collects problems.
type check struct{ found Problems }

// that records a problem with variable unless ok.
func (c *check) that(ok bool, variable, wrong, fix string) {
	if !ok {
		c.found = append(c.found, Problem{variable, wrong, fix})
	}
}

// set records a problem with variable when value is empty.
func (c *check) set(value, variable, fix string) { c.that(value != "", variable, "is not set", fix) }
