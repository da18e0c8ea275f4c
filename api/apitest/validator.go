package apitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/api"
)

// Validator checks requests and responses against openapi.yaml. It is safe for concurrent use.
type Validator struct {
	document *openapi3.T
	router   routers.Router
}

// New returns a Validator. It fails the test when the document itself is not valid.
func New(t testing.TB) *Validator {
	t.Helper()
	registerStreams()
	document, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	require.NoError(t, err, "openapi.yaml cannot be read")
	require.NoError(t, document.Validate(t.Context()), "openapi.yaml is not valid")
	router, err := gorillamux.NewRouter(document)
	require.NoError(t, err, "openapi.yaml has paths that cannot be routed")
	return &Validator{document, router}
}

// registerStreams lets the library read a stream of events, a type it does not know, as plain text.
var registerStreams = sync.OnceFunc(func() {
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.RegisteredBodyDecoder("text/plain"))
})

// Routes returns every route of the document as echo writes it ("POST /subscriptions/:id/cancel"), sorted. The pages
// that show the contract itself (/docs, /openapi.yaml and the like) are not among them.
func (v *Validator) Routes() []string {
	return v.routes(func(*openapi3.Operation) bool { return true })
}

// Internal returns those of Routes that take the internal key, whatever their path.
func (v *Validator) Internal() []string {
	return v.routes(func(o *openapi3.Operation) bool {
		security := v.document.Security
		if o.Security != nil {
			security = *o.Security
		}
		return slices.ContainsFunc(security, func(r openapi3.SecurityRequirement) bool {
			_, ok := r["internalKey"]
			return ok
		})
	})
}

func (v *Validator) routes(with func(o *openapi3.Operation) bool) []string {
	var routes []string
	for path, item := range v.document.Paths.Map() {
		for method, operation := range item.Operations() {
			if with(operation) {
				routes = append(routes, method+" "+strings.NewReplacer("{", ":", "}", "").Replace(path))
			}
		}
	}
	slices.Sort(routes)
	return routes
}

// Check fails the test unless the contract has the route and allows the response: its status, its headers and its body,
// down to the error_code. When the response is a success the contract must allow the request as well: it must permit
// what the service accepts. body is the request's, nil for none. The response's body can still be read afterwards.
func (v *Validator) Check(t testing.TB, request *http.Request, body []byte, response *http.Response) {
	t.Helper()
	require.NoError(t, v.check(request, body, response), "%s %s → %d breaks openapi.yaml",
		request.Method, request.URL.Path, response.StatusCode)
}

func (v *Validator) check(request *http.Request, body []byte, response *http.Response) error {
	ctx := context.WithoutCancel(request.Context())
	received, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("reading the response: %w", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(received))

	sent := request.Clone(ctx) // its own body has been read by the server
	sent.Body = io.NopCloser(bytes.NewReader(body))
	sent.GetBody = nil
	sent.ContentLength = int64(len(body))
	route, pathParams, err := v.router.FindRoute(sent)
	if err != nil {
		return err
	}
	input := &openapi3filter.RequestValidationInput{
		Request:    sent,
		PathParams: pathParams,
		Route:      route,
		Options:    options(),
	}
	if response.StatusCode < http.StatusMultipleChoices {
		if err := openapi3filter.ValidateRequest(ctx, input); err != nil {
			return fmt.Errorf("the service accepted what the contract forbids: %w", err)
		}
	}
	return openapi3filter.ValidateResponse(ctx, &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input,
		Status:                 response.StatusCode,
		Header:                 response.Header,
		Body:                   io.NopCloser(bytes.NewReader(received)),
		Options:                options(),
	})
}

func options() *openapi3filter.Options {
	return &openapi3filter.Options{
		IncludeResponseStatus: true, // a status that is not in the document is an error
		SkipSettingDefaults:   true, // the request is checked, not completed
		AuthenticationFunc:    hasCredentials,
		SchemaValidationOptions: []openapi3.SchemaValidationOption{
			openapi3.WithStringFormatValidators(map[string]openapi3.StringFormatValidator{
				"uuid":      openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringForUUIDOfRFC9562),
				"email":     openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringForEmail),
				"date-time": openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringDateTime),
			}),
		},
	}
}

// hasCredentials returns an error unless the request carries credentials of the scheme. Whether they are good, the
// service has decided.
func hasCredentials(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	request, scheme := in.RequestValidationInput.Request, in.SecurityScheme
	switch {
	case scheme.Type == "apiKey" && scheme.In == "cookie":
		hasValue := func(c *http.Cookie) bool { return c.Value != "" }
		if slices.ContainsFunc(request.CookiesNamed(scheme.Name), hasValue) {
			return nil
		}
	case scheme.Type == "apiKey" && scheme.In == "header":
		if request.Header.Get(scheme.Name) != "" {
			return nil
		}
	case scheme.Type == "http" && scheme.Scheme == "bearer":
		name, token, _ := strings.Cut(request.Header.Get("Authorization"), " ")
		if strings.EqualFold(name, "Bearer") && strings.TrimSpace(token) != "" {
			return nil
		}
	default:
		return fmt.Errorf("apitest does not know the security scheme %s", in.SecuritySchemeName)
	}
	return errors.New("the request has no " + in.SecuritySchemeName)
}
