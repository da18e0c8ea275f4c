package app

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/httpserver"
)

func TestVietnamese(t *testing.T) {
	t.Parallel()
	returned := clientTexts(t)
	var missing, unused []string
	for text, where := range returned {
		if vietnamese[text] == "" {
			missing = append(missing, where+": "+text)
		}
	}
	for english, translated := range vietnamese {
		if returned[english] == "" {
			unused = append(unused, english)
		}
		require.Equal(t, strings.Count(english, "#"), strings.Count(translated, "#"), english)
	}
	require.Empty(t, missing, "add their translations to internal/app/vietnamese.go")
	require.Empty(t, unused, "nothing returns these: remove them from internal/app/vietnamese.go")
	t.Run("finds every form in which a text is written", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{
			"The service is not available right now; please try again in a moment", // apperror.New
			"Send the internal key as X-Internal-Key",                              // echo.NewHTTPError
			"is required",                        // a field's problem
			"must have # to # items",             // made with Sprintf
			"must be a whole number from # to #", // made with +
		} {
			require.Contains(t, returned, text)
		}
	})
}

// requireTranslated fails for an English response with a text that has no translation, and for a Vietnamese one with a
// text that has one.
func requireTranslated(t *testing.T, r *http.Request, status int, body []byte) {
	t.Helper()
	var envelope httpserver.Envelope
	if status < http.StatusBadRequest || json.Unmarshal(body, &envelope) != nil {
		return
	}
	for _, text := range append(slices.Collect(maps.Values(envelope.Errors)), envelope.Message) {
		_, english := vietnamese[numbers.ReplaceAllString(text, "#")]
		require.Equal(t, httpserver.Locale(r) == "en", english, text)
	}
}

// clientTexts returns the messages and problems in the code, with "#" for their numbers, and where they are.
func clientTexts(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, status := range []int{
		// What echo and the server itself refuse without a text of their own.
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusInternalServerError, http.StatusServiceUnavailable,
	} {
		texts[http.StatusText(status)] = "net/http"
	}
	root := os.DirFS("../..")
	for _, below := range []string{
		"internal/audit", "internal/authentication", "internal/invitation", "internal/project", "internal/subscription",
		"pkg/apperror", "pkg/database", "pkg/httpserver",
	} {
		require.NoError(t, fs.WalkDir(root, below, func(path string, _ fs.DirEntry, err error) error {
			if filepath.Ext(path) == ".go" && !strings.HasSuffix(path, "_test.go") {
				collectTexts(t, root, path, texts)
			}
			return err
		}))
	}
	return texts
}

// textArguments are the functions that take a client's text, and which argument it is.
var textArguments = map[string]int{
	"apperror.New": 2, "New": 2, "echo.NewHTTPError": 1, "plain": 1, "unusable": 0,
}

// problem matches the text of a field's problem, wherever it stands in a package that serves requests.
var problem = regexp.MustCompile(`^(is|has|must|may|cannot) `)

func collectTexts(t *testing.T, root fs.FS, path string, texts map[string]string) {
	t.Helper()
	source, err := fs.ReadFile(root, path)
	require.NoError(t, err)
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, 0)
	require.NoError(t, err)
	add := func(e ast.Expr) {
		if text := textOf(e); text != "" && text != "#" {
			texts[text] = files.Position(e.Pos()).String()
		}
	}
	// Queries and logs of other packages have sentences as well.
	serves := strings.HasPrefix(path, "pkg/httpserver") || strings.HasPrefix(path, "internal/") &&
		!strings.Contains(path, "/repository/") && !strings.Contains(path, "/delivery/rabbitmq/")
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := nameOf(n.Fun)
			if i, ok := textArguments[name]; ok && i < len(n.Args) {
				add(n.Args[i])
			}
			if strings.HasSuffix(name, ".WithFields") {
				if fields, ok := n.Args[0].(*ast.CompositeLit); ok {
					for _, field := range fields.Elts {
						add(field.(*ast.KeyValueExpr).Value)
					}
				}
			}
		case ast.Expr:
			if text := textOf(n); serves && problem.MatchString(text) {
				add(n)
				return false // not the parts of it
			}
		}
		return true
	})
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return nameOf(e.X) + "." + e.Sel.Name
	}
	return ""
}

var numbers = regexp.MustCompile(`\d+|%d`)

// textOf returns the text of an expression with "#" for each number: for those written in it and for those it computes.
// It returns "#" for what is no text.
func textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, _ := strconv.Unquote(e.Value)
			return numbers.ReplaceAllString(text, "#")
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return textOf(e.X) + textOf(e.Y)
		}
	case *ast.CallExpr:
		if nameOf(e.Fun) == "fmt.Sprintf" {
			return textOf(e.Args[0])
		}
	}
	return "#"
}
