package cgi

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTheWordsOfAnIndexedQueryAreArguments(t *testing.T) {
	for name, test := range map[string]struct {
		method, query string
		want          []string
	}{
		"no query":                     {"GET", "", nil},
		"one word":                     {"GET", "foo", []string{"foo"}},
		"words":                        {"GET", "foo+bar+baz", []string{"foo", "bar", "baz"}},
		"HEAD":                         {"HEAD", "foo+bar", []string{"foo", "bar"}},
		"POST has none":                {"POST", "foo+bar", nil},
		"other methods have none":      {"PUT", "foo", nil},
		"a form has none":              {"GET", "a=b", nil},
		"an equals sign anywhere":      {"GET", "foo+bar=", nil},
		"an encoded one is one":        {"GET", "a%3db", []string{"a=b"}},
		"encoded plus and space":       {"GET", "a%2Bb+c%20d", []string{"a+b", "c d"}},
		"ampersands stay":              {"GET", "a&b+c", []string{"a&b", "c"}},
		"empty words":                  {"GET", "a++b+", []string{"a", "", "b", ""}},
		"nothing but a plus":           {"GET", "+", []string{"", ""}},
		"not UTF-8":                    {"GET", "%ff%fe", []string{"\xff\xfe"}},
		"line ends":                    {"GET", "a%0ab", []string{"a\nb"}},
		"bad percent":                  {"GET", "a+%zz", nil},
		"percent at the end":           {"GET", "a%", nil},
		"NUL":                          {"GET", "a+b%00c", nil},
		"decoded once":                 {"GET", "%2541", []string{"%41"}},
		"options (CVE-2012-1823)":      {"GET", "-d+allow_url_include%3d1+-s", []string{"-d", "allow_url_include=1", "-s"}}, // behind the script's name, see TestArguments
		"shell (CVE-2019-0232)":        {"GET", "%26dir+%3bid+%24(id)+%60id%60", []string{"&dir", ";id", "$(id)", "`id`"}},  // no shell sees them
		"an equals sign hides options": {"GET", "-s&=", nil},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, IndexedArgs(test.method, test.query))
		})
	}
}

func TestAnIndexedQueryOfAnyLengthIsSplit(t *testing.T) {
	assert.Len(t, IndexedArgs("GET", strings.Repeat("a+", 1<<16)+"a"), 1<<16+1)
}
