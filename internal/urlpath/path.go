// Package urlpath turns the path of a URL into a file, one segment at a time, so
// that no spelling of a path (encoded dots, encoded slashes, doubled slashes,
// NUL) can name a file that its plain spelling could not.
package urlpath

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Errors of [Parse] and [Walk]. They say what is wrong with the path, not whether
// a file exists.
var (
	// ErrBadPath: the path can't be decoded, holds a NUL, or climbs above the root.
	ErrBadPath = errors.New("bad path")
	// ErrOutside: a symbolic link leads out of the root.
	ErrOutside = errors.New("symbolic link leaves the folder")
	// ErrHidden: a segment is a dotfile or a backup file, which are never served.
	ErrHidden = errors.New("hidden file")
)

// A Path is a decoded URL path. Segments are what stands between the slashes,
// each decoded once; dot segments are resolved (RFC 3986 section 5.2.4). Empty
// segments stay: `/a//b/` is [a, "", b, ""], because the part that becomes
// PATH_INFO keeps its doubled slashes.
type Path []string

// Parse decodes the path of a request target, as it came (still encoded).
//
// It is stricter than RFC 3986 where leniency has been an attack: `..` above the
// root is an error, and so are a NUL and dot segments that hide behind an encoded
// slash.
func Parse(escaped string) (Path, error) {
	if !strings.HasPrefix(escaped, "/") {
		return nil, fmt.Errorf("%w: %q does not begin with a slash", ErrBadPath, escaped)
	}
	raw := strings.Split(escaped[1:], "/")
	p := make(Path, 0, len(raw))
	for i, s := range raw {
		seg, err := decode(s)
		if err != nil {
			return nil, err
		}
		last := i == len(raw)-1
		switch seg {
		case ".":
			if last {
				p = append(p, "")
			}
		case "..":
			if len(p) == 0 {
				return nil, fmt.Errorf("%w: %q climbs above the root", ErrBadPath, escaped)
			}
			p = p[:len(p)-1]
			if last {
				p = append(p, "")
			}
		default:
			p = append(p, seg)
		}
	}
	return p, nil
}

// decode undoes the percent encoding of one segment.
func decode(s string) (string, error) {
	if strings.IndexByte(s, '%') >= 0 {
		d, err := url.PathUnescape(s)
		if err != nil {
			return "", fmt.Errorf("%w: %q: %v", ErrBadPath, s, err)
		}
		if strings.IndexByte(d, '/') >= 0 {
			for piece := range strings.SplitSeq(d, "/") {
				if piece == "." || piece == ".." {
					return "", fmt.Errorf("%w: %q hides a dot segment behind an encoded slash", ErrBadPath, s)
				}
			}
		}
		s = d
	}
	if strings.IndexByte(s, 0) >= 0 {
		return "", fmt.Errorf("%w: a NUL in %q", ErrBadPath, s)
	}
	return s, nil
}

// Match says whether the path lies under prefix, and returns what is left.
// Doubled slashes before and within the matched part count as one. A prefix that
// ends in a slash matches only below it (`/a/` does not match `/a`); one that
// does not matches itself too, but never `/ab`.
func (p Path) Match(prefix string) (rest Path, ok bool) {
	i := 0
	for want := range strings.SplitSeq(strings.Trim(prefix, "/"), "/") {
		if want == "" {
			continue
		}
		for i < len(p) && p[i] == "" {
			i++
		}
		if i == len(p) || p[i] != want {
			return nil, false
		}
		i++
	}
	if strings.HasSuffix(prefix, "/") && i == len(p) {
		return nil, false
	}
	return p[i:], true
}

// String is the path with its leading slash, decoded: what PATH_INFO holds. The
// empty path is the empty string.
func (p Path) String() string {
	if len(p) == 0 {
		return ""
	}
	return "/" + strings.Join(p, "/")
}

// Clean is the path without empty segments, and a final slash where it had one:
// what SCRIPT_NAME and log lines hold.
func (p Path) Clean() string {
	var b strings.Builder
	for _, s := range p {
		if s != "" {
			b.WriteByte('/')
			b.WriteString(s)
		}
	}
	if b.Len() == 0 || p[len(p)-1] == "" {
		b.WriteByte('/')
	}
	return b.String()
}
