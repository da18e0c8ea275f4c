package authentication

// Credentials are what a person types to log in. Neither field has been checked.
type Credentials struct {
	Email    string
	Password string // in clear: never logged, never stored
}

// Session is the outcome of a successful login.
type Session struct {
	User  User
	Token Token
}
