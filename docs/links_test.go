package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/docs/doctest"
)

func TestLinks(t *testing.T) {
	t.Parallel()
	pages := doctest.Pages(t)
	exists := func(file string) bool {
		_, err := os.Stat(filepath.Join(doctest.Root(t), file))
		return err == nil
	}
	t.Run("every relative link leads to a file, and its anchor to a heading", func(t *testing.T) {
		t.Parallel()
		link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
		checked := 0
		for page, text := range pages {
			for _, m := range link.FindAllStringSubmatch(withoutBlocks(text), -1) {
				target, anchor, _ := strings.Cut(m[1], "#")
				if strings.Contains(target, "://") {
					continue
				}
				checked++
				file := page
				if target != "" {
					file = path.Join(path.Dir(page), target)
				}
				if !exists(file) {
					t.Errorf("%s: the link %s leads to no file", page, m[1])
				}
				if anchor != "" && !slices.Contains(anchors(pages[file]), anchor) {
					t.Errorf("%s: the link %s leads to no heading", page, m[1])
				}
			}
		}
		require.Greater(t, checked, 20)
	})
	t.Run("every page is in the index of its folder", func(t *testing.T) {
		t.Parallel()
		for page := range pages {
			folder, file := path.Split(page)
			if strings.HasPrefix(folder, "docs/") && file != "README.md" {
				require.Contains(t, pages[folder+"README.md"], "]("+file+")")
			}
		}
	})
	t.Run("every file and folder named in a page exists", func(t *testing.T) {
		t.Parallel()
		named := regexp.MustCompile(
			`^(?:api|cmd|config|deployments|docs|internal|pkg|test)/[\w./-]*$|\./(?:cmd|test)/[\w/-]+`)
		identifier := regexp.MustCompile(`\.[A-Z]\w*$`) // as in internal/event.Message
		checked := 0
		for page, text := range pages {
			for _, c := range code(text) {
				if file := named.FindString(c); file != "" {
					checked++
					if !exists(identifier.ReplaceAllString(file, "")) {
						t.Errorf("%s: there is no %s", page, file)
					}
				}
			}
		}
		require.Greater(t, checked, 20)
	})
}

// anchors returns the anchors that GitHub gives to the headings of a page.
func anchors(text string) (all []string) {
	dropped := regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)
	for line := range strings.Lines(withoutBlocks(text)) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			title = dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			all = append(all, strings.ReplaceAll(title, " ", "-"))
		}
	}
	return all
}
