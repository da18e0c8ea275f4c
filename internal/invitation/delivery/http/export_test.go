package http

// The parsers, for their tests: a test inside this package could not use testify's require.
const KeptBytes = keptBytes

var (
	ParseCSV  = parseCSV
	ParseJSON = parseJSON
)
