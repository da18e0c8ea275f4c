package inprocess

import "strings"

// matches reports whether a topic exchange routes key to a queue bound with pattern: words are separated by dots, * is
// exactly one word, # is any number of words, none included. An empty key has no words, as in RabbitMQ.
func matches(pattern, key string) bool { return matchWords(words(pattern), words(key)) }

func words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ".")
}

func matchWords(pattern, key []string) bool {
	for i, word := range pattern {
		if word == "#" {
			for skip := i; skip <= len(key); skip++ {
				if matchWords(pattern[i+1:], key[skip:]) {
					return true
				}
			}
			return false
		}
		if i >= len(key) || (word != "*" && word != key[i]) {
			return false
		}
	}
	return len(pattern) == len(key)
}
