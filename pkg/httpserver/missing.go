package httpserver

// Missing returns "is required" for each of the fields of a request that is empty.
func Missing(fields map[string]string) map[string]string {
	problems := map[string]string{}
	for name, value := range fields {
		if value == "" {
			problems[name] = "is required"
		}
	}
	return problems
}
