package urlpath

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAPathIsDecodedSegmentBySegment(t *testing.T) {
	for in, want := range map[string]Path{
		"/":                {""},
		"//":               {"", ""},
		"/a":               {"a"},
		"/a/":              {"a", ""},
		"/a/b.cgi/c":       {"a", "b.cgi", "c"},
		"/a//b/":           {"a", "", "b", ""},
		"/%61%2Eb":         {"a.b"},
		"/a%20b+c":         {"a b+c"},
		"/%25":             {"%"},
		"/%E4":             {"\xe4"}, // not UTF-8, and none of our business
		"/%f0%9f%90%aa":    {"\U0001f42a"},
		"/\xff\xfe":        {"\xff\xfe"},
		"/a;b=c/d":         {"a;b=c", "d"},
		"/a:b@c!$&'()*,=~": {"a:b@c!$&'()*,=~"},
		"/%0a%0d%7f":       {"\n\r\x7f"},
		"/...":             {"..."},
		"/..a/b..":         {"..a", "b.."},
		"/a%2fb":           {"a/b"}, // stays one segment, which no file can be called
		"/%2f":             {"/"},
		"/a%2f%2fb":        {"a//b"},
	} {
		t.Run(in, func(t *testing.T) {
			got, err := Parse(in)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

func TestDotSegmentsAreResolvedAsInRFC3986(t *testing.T) {
	for in, want := range map[string]string{
		"/.":                "/",
		"/./":               "/",
		"/a/.":              "/a/",
		"/a/./b":            "/a/b",
		"/./a":              "/a",
		"/a/..":             "/",
		"/a/../":            "/",
		"/a/../b":           "/b",
		"/a/b/..":           "/a/",
		"/a/b/../c":         "/a/c",
		"/a/b/../../c":      "/c",
		"/a/b/c/./../../g":  "/a/g", // section 5.2.4
		"/mid/content=5/..": "/mid/",
		"/a//../b":          "/a/b", // an empty segment is one
		"/a/%2e/b":          "/a/b",
		"/a/%2E%2e/b":       "/b",
		"/a/.%2e/b":         "/b",
		"/a/%2e./":          "/",
	} {
		t.Run(in, func(t *testing.T) {
			got, err := Parse(in)
			require.NoError(t, err)
			assert.Equal(t, want, got.String())
		})
	}
}

func TestABadPathIsAnError(t *testing.T) {
	for name, in := range map[string]string{
		"empty":                  "",
		"no slash":               "a",
		"asterisk":               "*",
		"absolute form":          "http://example.org/a",
		"percent at the end":     "/a%",
		"percent and one digit":  "/a%2",
		"percent and no hex":     "/%zz",
		"percent u":              "/%u002e%u002e/",
		"percent percent":        "/%%32%65",
		"NUL":                    "/a%00",
		"NUL before a suffix":    "/a.cgi%00.txt",
		"raw NUL":                "/a\x00b",
		"above the root":         "/..",
		"above the root, deeper": "/a/../../b",
		"above the root, back":   "/../root/a",
		"encoded above the root": "/%2e%2e/a",
		"half encoded":           "/.%2e/a",
		"behind a dot":           "/./../a",
		"hidden by a slash":      "/a/..%2fb",
		"hidden by two slashes":  "/a%2f..%2fb",
		"hidden at the end":      "/a/b%2f..",
		"hidden single dot":      "/a%2f.%2fb",
		"hidden and encoded":     "/a%2f%2e%2e%2fb",
		"upper case":             "/a%2F%2E%2E",
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse(in)
			assert.ErrorIs(t, err, ErrBadPath)
			assert.Nil(t, p)
		})
	}
}

func TestAPathIsDecodedOnlyOnce(t *testing.T) {
	for in, want := range map[string]string{
		"/%252e%252e/a":       "/%2e%2e/a",
		"/%2500":              "/%00",
		"/a%252fb":            "/a%2fb",
		"/%25%32%65%25%32%65": "/%2e%2e",
	} {
		p, err := Parse(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, p.String(), in)
	}
}

func TestParsingWhatWasParsedChangesNothing(t *testing.T) {
	for _, in := range []string{"/", "//", "/a//b/", "/a/b/../c/", "/.well-known/x", "///a///"} {
		p, err := Parse(in)
		require.NoError(t, err, in)
		again, err := Parse(p.String())
		require.NoError(t, err, in)
		assert.Equal(t, p, again, in)
	}
}

func TestAPathMatchesAPrefixAtSegments(t *testing.T) {
	for _, test := range []struct {
		path, prefix string
		rest         Path // nil: no match
	}{
		{"/", "/", Path{""}},
		{"/", "", Path{""}},
		{"/a", "/", Path{"a"}},
		{"/a/b", "/", Path{"a", "b"}},
		{"/a", "/a", Path{}},
		{"/a/", "/a", Path{""}},
		{"/a/b", "/a", Path{"b"}},
		{"/ab", "/a", nil},
		{"/A", "/a", nil},
		{"/", "/a", nil},
		{"/b/a", "/a", nil},
		{"/a", "/a/b", nil},
		{"/a/b/c", "/a/b", Path{"c"}},
		{"/a/bc", "/a/b", nil},

		{"/a", "/a/", nil},
		{"/a/", "/a/", Path{""}},
		{"/a/b", "/a/", Path{"b"}},
		{"/a//", "/a/", Path{"", ""}},

		{"//a", "/a", Path{}},
		{"//a///b//c", "/a/b", Path{"", "c"}},
		{"//", "/a", nil},
		{"/a//b", "/a", Path{"", "b"}},
		{"/x/../a/b", "/a", Path{"b"}},
		{"/%61/b", "/a", Path{"b"}},
		{"/a%2fb", "/a/b", nil},
		{"/a%2fb", "/a", nil},
		{"/a/b", "//a//", Path{"b"}},
	} {
		t.Run(test.path+" under "+test.prefix, func(t *testing.T) {
			p, err := Parse(test.path)
			require.NoError(t, err)
			rest, ok := p.Match(test.prefix)
			require.Equal(t, test.rest != nil, ok)
			assert.ElementsMatch(t, test.rest, rest)
		})
	}
}

func TestEveryPathMatchesTheRoot(t *testing.T) {
	for _, in := range []string{"/", "//", "/.", "/a/..", "/a", "/a/b/", "/%2f"} {
		p, err := Parse(in)
		require.NoError(t, err, in)
		rest, ok := p.Match("/")
		assert.True(t, ok, in)
		assert.Equal(t, p, rest, in)
	}
}

func TestAPathIsWrittenForPathInfoAndForTheLog(t *testing.T) {
	for _, test := range []struct {
		path        Path
		info, clean string
	}{
		{nil, "", "/"},
		{Path{}, "", "/"},
		{Path{""}, "/", "/"},
		{Path{"", ""}, "//", "/"},
		{Path{"a"}, "/a", "/a"},
		{Path{"a", ""}, "/a/", "/a/"},
		{Path{"a", "", "b"}, "/a//b", "/a/b"},
		{Path{"", "a", "", ""}, "//a//", "/a/"},
		{Path{"a b", "\xff%2f"}, "/a b/\xff%2f", "/a b/\xff%2f"},
	} {
		// Not every caller checks for the empty path first.
		require.NotPanics(t, func() { _ = test.path.Clean() }, "%q", test.path)
		assert.Equal(t, test.info, test.path.String(), "%q", test.path)
		assert.Equal(t, test.clean, test.path.Clean(), "%q", test.path)
	}
}

func TestAVeryLongPathIsParsedInOneGo(t *testing.T) {
	p, err := Parse(strings.Repeat("/a/..", 1<<16) + "/b")
	require.NoError(t, err)
	assert.Equal(t, Path{"b"}, p)
	_, err = Parse(strings.Repeat("/a/..", 1<<16) + "/../b")
	assert.ErrorIs(t, err, ErrBadPath)
}
