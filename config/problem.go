package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Problem is one invalid variable. Its text never contains the value of a secret.
type Problem struct {
	Variable string
	Wrong    string // continues "VARIABLE …": "is not set"
	Fix      string // an imperative: "set it to …"
}

// Problems is everything wrong with a configuration. As an error it has one line per problem.
type Problems []Problem

// Error lists every problem.
func (p Problems) Error() string {
	var b strings.Builder
	b.WriteString("the configuration is not usable:")
	for _, problem := range p {
		fmt.Fprintf(&b, "\n  %s %s; %s", problem.Variable, problem.Wrong, problem.Fix)
	}
	return b.String()
}

// of returns the problems that concern role as an error, nil when there is none. It keeps the first problem of every
// variable: a value that cannot be read would otherwise be reported a second time as missing.
func (p Problems) of(role Role) error {
	var kept Problems
	for _, problem := range p {
		reported := slices.ContainsFunc(kept, func(k Problem) bool { return k.Variable == problem.Variable })
		if !reported && role.uses(problem.Variable) {
			kept = append(kept, problem)
		}
	}
	if kept == nil {
		return nil
	}
	return kept
}

// rule states what must hold for a variable, and the problem when it does not.
type rule struct {
	holds                bool
	variable, wrong, fix string
}

// isSet returns the rule that value is not empty.
func isSet(value, variable, fix string) rule {
	return rule{value != "", variable, "is not set", fix}
}

// check returns the problems of the rules that do not hold.
func check(rules ...rule) Problems {
	var problems Problems
	for _, r := range rules {
		if !r.holds {
			problems = append(problems, Problem{r.variable, r.wrong, r.fix})
		}
	}
	return problems
}

// isURL reports whether text is a URL with a host and one of these schemes.
func isURL(text string, schemes ...string) bool {
	u, err := url.Parse(text) // its error quotes the URL and must not be shown
	return err == nil && slices.Contains(schemes, u.Scheme) && u.Hostname() != ""
}

// isServerURL is isURL for the URL of a server, which may have a password. One with a reserved character that is not
// escaped ends the host early (amqp://user:12/secret@host/): what is behind it would be logged as a path or a name.
func isServerURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && isURL(text, schemes...) && u.Fragment == "" && !strings.ContainsAny(u.Host, ";,|") &&
		!strings.Contains(u.EscapedPath()+u.RawQuery, "@") && !strings.ContainsFunc(text, unicode.IsSpace)
}
