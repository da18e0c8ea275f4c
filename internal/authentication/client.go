package authentication

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"time"
)

// Client is where a request comes from, as far as it can be told. Nothing in it is proof of anything.
type Client struct {
	IP        netip.Addr // the zero value: not known, as behind a proxy that does not say
	UserAgent string
	Device    string // what the client calls itself
	Locale    string // the language to write to it in
	// Browsers are the values by which the browser can be known again, see [NewBrowser]. There can be several, and
	// none of them needs to be ours.
	Browsers []string
	// Tokens are those with our signature that came along as cookies, expired ones included. What opens a session ends
	// theirs.
	Tokens []Claims
}

// Networks are this many leading bits of an address: what one household or office usually has.
const (
	networkBits4 = 24
	networkBits6 = 64
)

// Network returns the network of the client's address, /24 or /64, as text; "" when the address is not known. An IPv4
// address in IPv6 form (RFC 4291 §2.5.5.2) is one of IPv4.
func (c *Client) Network() string {
	ip := c.IP.Unmap().WithZone("")
	bits := networkBits6
	if ip.Is4() {
		bits = networkBits4
	}
	network, err := ip.Prefix(bits)
	if err != nil || !network.IsValid() {
		return ""
	}
	return network.String()
}

const browserBytes = 32

// BrowserLifetime is how long a browser keeps its value: longer than a code is good for.
const BrowserLifetime = 30 * time.Minute

// NewBrowser returns 256 random bits that name a browser, as text for a cookie.
func NewBrowser() string {
	b := make([]byte, browserBytes)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}

// BrowserDigest returns what is stored of a value of [NewBrowser], and false for what cannot be one, such as another
// spelling of the same bits. The value has too many bits to be guessed, so a plain SHA-256 hides it.
func BrowserDigest(value string) (digest []byte, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || len(b) != browserBytes || base64.RawURLEncoding.EncodeToString(b) != value {
		return nil, false
	}
	sum := sha256.Sum256(b)
	return sum[:], true
}

// maxBrowsers is how many values of one request are tried.
const maxBrowsers = 8

// BrowserDigests returns the digests of the first 8 of the client's values that can be ours.
func (c *Client) BrowserDigests() (digests [][]byte) {
	for _, value := range c.Browsers {
		if digest, ok := BrowserDigest(value); ok && len(digests) < maxBrowsers {
			digests = append(digests, digest)
		}
	}
	return digests
}

// Browser returns the value by which the browser is to be known again: the first it has that can be ours, or a new one.
func (c *Client) Browser() string {
	for _, value := range c.Browsers {
		if _, ok := BrowserDigest(value); ok {
			return value
		}
	}
	return NewBrowser()
}
