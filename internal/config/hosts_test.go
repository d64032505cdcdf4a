package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAHostHasOneSpelling(t *testing.T) {
	for text, want := range map[string]Host{
		"www.example.org": "www.example.org", "WWW.Example.org.": "www.example.org", "*.Example.org": "*.example.org",
		"münchen.example": "xn--mnchen-3ya.example", "MÜNCHEN.example": "xn--mnchen-3ya.example", "*.münchen.example": "*.xn--mnchen-3ya.example",
		"[::1]": "::1", "2001:DB8:0:0::7": "2001:db8::7", "192.0.2.1": "192.0.2.1", "my_host": "my_host", "localhost": "localhost",
	} {
		var h Host
		assert.NoError(t, h.UnmarshalText([]byte(text)))
		assert.Equal(t, want, h, text)
	}
	for _, text := range []string{"", ".", "*", "*.", "a.*.org", "*a.org", "a..b", ".a", "a:80", "[::1]:80", "http://a", "a/b", "a b", "*.::1", "*.1.2.3.4", "a%b", "fe80::1%eth0"} {
		var h Host
		assert.Error(t, h.UnmarshalText([]byte(text)), text)
	}
}

func TestTheNameOfAHostFieldIsWithoutThePort(t *testing.T) {
	for field, want := range map[string]string{
		"Example.org": "example.org", "example.org:80": "example.org", "example.org.:80": "example.org", "[::1]": "::1", "[::1]:80": "::1", "::1": "::1",
		"": "", ":80": "", "a:80:80": "", "a/b": "", "<x>": "", "a..b": "", "[": "", "[]": "", "[x]:80": "x", "münchen.example:80": "xn--mnchen-3ya.example",
	} {
		assert.Equal(t, want, HostName(field), field)
	}
	assert.Zero(t, testing.AllocsPerRun(100, func() { HostName("www.example.org:8080") }))
}
