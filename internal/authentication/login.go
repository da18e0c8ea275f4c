package authentication

// Credentials are what a person types to log in. Neither field has been checked.
type Credentials struct {
	Email    string
	Password string // in clear: never logged, never stored
}

// Login is the outcome of a proof: who it is, and the token of the session that was opened for them.
type Login struct {
	User  User
	Token Token
}
