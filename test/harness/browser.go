package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// Browser is a headless Chromium with an empty profile, in which every host name is this machine.
type Browser struct {
	tb  testing.TB
	ctx context.Context
}

// NewBrowser starts a browser for this test. make need-browser installs it on Debian.
func NewBrowser(tb testing.TB) *Browser {
	tb.Helper()
	allocator, stop := chromedp.NewExecAllocator(context.WithoutCancel(tb.Context()),
		chromedp.NoFirstRun,
		chromedp.NoSandbox, // which root needs
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("allow-pre-commit-input", true), // keys and clicks before the first frame are lost otherwise
		chromedp.Flag("hide-scrollbars", true),        // a picture of a whole page would lack what is below them
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-dev-shm-usage", true), // containers have little of it
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-extensions", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-features", "HttpsUpgrades"),
		chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1, EXCLUDE localhost, EXCLUDE ::1"),
	)
	ctx, closeBrowser := chromedp.NewContext(allocator)
	tb.Cleanup(func() { closeBrowser(); stop() })
	require.NoError(tb, chromedp.Do(ctx), "start Chromium; make need-browser installs it on Debian")
	return &Browser{tb, ctx}
}

// Page is a tab that shows an empty page of one origin.
type Page struct {
	ctx context.Context

	mu       sync.Mutex
	messages []chromedp.ConsoleMessage
}

// ServePages serves empty pages for this test and returns their port. A response repeats the request's Sec-Fetch-Site.
func ServePages(tb testing.TB) (port string) {
	tb.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header()["Sec-Fetch-Site"] = r.Header["Sec-Fetch-Site"]
		_, _ = w.Write([]byte(`<!doctype html><title>page</title><link rel="icon" href="data:,"><body></body>`))
	}))
	tb.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	require.NoError(tb, err)
	return u.Port()
}

// Open opens the page of an origin in a tab of its own.
func (b *Browser) Open(origin string) *Page {
	b.tb.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	p := &Page{ctx: ctx}
	var listening sync.WaitGroup
	b.tb.Cleanup(func() { closeTab(); listening.Wait() })
	require.NoError(b.tb, chromedp.Do(ctx))
	console := chromedp.Console(ctx)
	listening.Go(func() {
		for m, err := range console {
			if err != nil {
				return // the tab is closed
			}
			p.mu.Lock()
			p.messages = append(p.messages, m)
			p.mu.Unlock()
		}
	})
	within, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	require.NoError(b.tb, chromedp.Do(within, chromedp.Navigate(origin+"/")))
	return p
}

// Messages returns what the browser has logged about the page: failed requests, exceptions, what the page itself says.
func (p *Page) Messages() []chromedp.ConsoleMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.messages)
}

// callJS calls a function when the page has its style and scripts. Without them it is not what a person sees: its heading
// can be there already, but it is as wide as its tables, and asks nothing twice.
const callJS = `(async () => {
	if (document.readyState !== "complete") await new Promise(loaded => addEventListener("load", loaded, {once: true}))
	return (%s)(...%s)
})()`

// Call calls a function of JavaScript in the page, once it is loaded, and stores what its promise becomes in result.
func (p *Page) Call(result any, function string, args ...any) error {
	encoded, err := json.Marshal(append([]any{}, args...))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	raw, err := chromedp.Run(ctx,
		chromedp.Evaluate[[]byte](fmt.Sprintf(callJS, function, encoded), chromedp.EvalAwaitPromise))
	if err != nil {
		return fmt.Errorf("in the browser: %w; its messages: %v", err, p.Messages())
	}
	return json.Unmarshal(raw, result)
}

// Do does with the page what a person does.
func (p *Page) Do(steps ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		return fmt.Errorf("in the browser: %w; its messages: %v", err, p.Messages())
	}
	return nil
}

// Click clicks on an element. Where a live page has replaced it meanwhile, it clicks on the one that is there instead.
func (p *Page) Click(selector string) error {
	for {
		err := p.Do(chromedp.Click(chromedp.CSS(selector)))
		if failed, ok := errors.AsType[*cdproto.Error](err); !ok || failed.Message != "Could not find node with given id" {
			return err
		}
	}
}

// Look gives the page this size in pixels, and the light or dark colours that a person prefers.
func (p *Page) Look(width, height int64, colours string) error {
	if err := p.Do(chromedp.EmulateViewport(width, height)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}},
	})
	return err
}

// measureJS goes to the top of the page, where what is sticky belongs, and measures it.
const measureJS = `() => {
	window.scrollTo(0, 0)
	const unseen = [...document.querySelectorAll("iframe")].some(f => f.getBoundingClientRect().bottom > innerHeight)
	return {width: innerWidth, height: innerHeight, all: document.documentElement.scrollHeight, unseen}
}`

// paintJS lasts until the page, and frames of other processes in it, have been painted a few times.
const paintJS = `async () => {
	for (let i = 0; i < 30; i++) await new Promise(requestAnimationFrame)
	return true
}`

// Picture keeps a picture of the page as PNG in .stack/artifacts, all of it or what can be seen at once.
func (p *Page) Picture(name string, whole bool) (err error) {
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	take := chromedp.CaptureScreenshot()
	if whole {
		var size struct {
			Width, Height, All int64
			Unseen             bool
		}
		if err := p.Call(&size, measureJS); err != nil {
			return err
		}
		take = chromedp.FullScreenshot(100)
		if size.Unseen { // a frame that is out of sight is not painted
			take = chromedp.CaptureScreenshot()
			var painted bool
			err := errors.Join(p.Do(chromedp.EmulateViewport(size.Width, size.All)), p.Call(&painted, paintJS))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, p.Do(chromedp.EmulateViewport(size.Width, size.Height))) }()
		}
	}
	picture, err := chromedp.Run(ctx, take)
	if err != nil {
		return err
	}
	root, err := repository()
	if err != nil {
		return err
	}
	dir := filepath.Join(root, ".stack", "artifacts")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600)
}

// axeJS runs axe-core on the page and returns what it finds that is serious.
const axeJS = `async () => (await axe.run(document, {resultTypes: ["violations"], iframes: false})).violations
	.filter(v => v.impact === "serious" || v.impact === "critical")
	.map(v => v.id + ": " + v.nodes.map(n => n.target.join(" ") + " " + n.failureSummary).slice(0, 3).join("; "))`

// Axe returns what axe-core finds wrong with the page for people who cannot see it or use no mouse. It reports false where
// axe-core is not there: deployments/stack.sh need axe brings it.
func (p *Page) Axe() (serious []string, checked bool, err error) {
	root, err := repository()
	if err != nil {
		return nil, false, err
	}
	source, err := os.ReadFile(filepath.Join(root, ".stack", "axe", "axe.min.js"))
	if os.IsNotExist(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](string(source)+";0")); err != nil {
		return nil, false, err
	}
	err = p.Call(&serious, axeJS)
	return serious, true, err
}
