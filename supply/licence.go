package supply

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// Allowed are the licences that what is linked may be under: those that ask for no more than to be shown.
// MPL-2.0 asks for the sources of its own files, too, which we do not change. CC0-1.0 gives everything but patents.
func Allowed() []string {
	return []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MPL-2.0"}
}

// recognised is how much of a licence file, in percent, has to be the text of licences that are known. What may be left
// over is a title and the holders, and not a condition more.
const recognised = 95

// judged are the files of which less is recognised, and that somebody has read.
var judged = []struct {
	module, file string
	sum          string // SHA-256 of what was read; another text is to be read anew
	licences     []string
}{
	// BSD or GPL v2.0, as one likes: we take it under the former.
	{"kernel.org/pub/linux/libs/security/libcap/psx", "License", "279fa656c62857d42952b86a0789b98669ca1cb4b324a8d9e91397c174af4c14", []string{"BSD-3-Clause"}},
	// Says which of its files were libyaml's; those are MIT, all others Apache-2.0 by its short notice.
	{"go.yaml.in/yaml/v4", "LICENSE", "d18f6323b71b0b768bb5e9616e36da390fbd39369a81807cca352de4e4e6aa0b", []string{"Apache-2.0", "MIT"}},
}

// notLinked are licences of the standard library for what is not in our programs: BoringSSL comes with
// GOEXPERIMENT=boringcrypto and cgo alone, and we have neither.
var notLinked = []string{"src/crypto/internal/boring/LICENSE"}

// What is wrong with a module's licence.
var (
	ErrNone       = errors.New("no licence")
	ErrUnknown    = errors.New("not a licence that is known")
	ErrNotAllowed = errors.New("not one of the allowed licences")
)

// LicenceFile is a file of a module that says how it may be used.
type LicenceFile struct {
	Name     string // from the module's root, with /
	Text     []byte
	Licences []string // SPDX identifiers; none for a notice
}

var (
	licenceName = regexp.MustCompile(`(?i)^((un)?licen[cs]es?|copying|patents)\b`)
	noticeName  = regexp.MustCompile(`(?i)^(notice|copyright|authors)\b`)
	// What a grant of patents beside a licence gives takes nothing away.
	patentGrant = regexp.MustCompile(`^Google-?Patent`)
)

// LicenceFiles are those in the module's root, and those on the way from there to each of its packages that is linked:
// code taken from elsewhere brings its own.
func LicenceFiles(m Module) ([]LicenceFile, error) {
	folders := []string{m.Dir}
	for _, f := range m.Folders {
		for ; f != m.Dir; f = filepath.Dir(f) {
			if !strings.HasPrefix(f, m.Dir+string(filepath.Separator)) {
				return nil, fmt.Errorf("folder %s of module %s is not in %s", f, m.Path, m.Dir)
			}
			if !slices.Contains(folders, f) {
				folders = append(folders, f)
			}
		}
	}
	slices.Sort(folders)
	var files []LicenceFile
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, fmt.Errorf("licences of %s: %w", m.Path, err)
		}
		for _, e := range entries {
			f, err := licenceFile(m, folder, e)
			if err != nil {
				return nil, err
			}
			if f != nil {
				files = append(files, *f)
			}
		}
	}
	if !slices.ContainsFunc(files, func(f LicenceFile) bool { return len(f.Licences) > 0 && !strings.Contains(f.Name, "/") }) {
		return nil, fmt.Errorf("root of module %s %s (%s): %w", m.Path, m.Version, m.Dir, ErrNone)
	}
	return files, nil
}

// licenceFile is nil for a file that is none.
func licenceFile(m Module, folder string, e fs.DirEntry) (*LicenceFile, error) {
	notice := noticeName.MatchString(e.Name())
	if !e.Type().IsRegular() || filepath.Ext(e.Name()) == ".go" || (!notice && !licenceName.MatchString(e.Name())) {
		return nil, nil
	}
	path := filepath.Join(folder, e.Name())
	name, err := filepath.Rel(m.Dir, path)
	if err != nil {
		return nil, fmt.Errorf("licences of %s: %w", m.Path, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("licences of %s: %w", m.Path, err)
	}
	f := &LicenceFile{Name: filepath.ToSlash(name), Text: text}
	if notice {
		return f, nil
	}
	if m.Path == Standard && slices.Contains(notLinked, f.Name) {
		return nil, nil
	}
	for _, j := range judged {
		if j.module == m.Path && j.file == f.Name && j.sum == fmt.Sprintf("%x", sha256.Sum256(text)) {
			f.Licences = j.licences
			return f, nil
		}
	}
	if f.Licences, err = identify(text); err != nil {
		return nil, fmt.Errorf("%s of module %s %s: %w", f.Name, m.Path, m.Version, err)
	}
	return f, nil
}

// identify are the licences whose texts a file has.
func identify(text []byte) ([]string, error) {
	found := licensecheck.Scan(text)
	var ids []string
	for _, match := range found.Match {
		if !slices.Contains(ids, match.ID) && !patentGrant.MatchString(match.ID) {
			ids = append(ids, match.ID)
		}
	}
	slices.Sort(ids)
	if found.Percent < recognised {
		return nil, fmt.Errorf("%w: %.0f %% of it are texts that are known %v: read it", ErrUnknown, found.Percent, ids)
	}
	return ids, nil
}

// Licensed is a module with its licences.
type Licensed struct {
	Module
	Licences []string // SPDX identifiers: all of them apply
	Holders  []string // lines of the files that name holders of copyright
	Files    []LicenceFile
}

// Expression is how SPDX writes it.
func (l Licensed) Expression() string { return strings.Join(l.Licences, " AND ") }

// License reads the licences of modules. Its error has every module that is under none, one that is not known, or one
// that is not allowed.
func License(modules []Module) ([]Licensed, error) {
	var all []Licensed
	var errs []error
	for _, m := range modules {
		files, err := LicenceFiles(m)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l := Licensed{Module: m, Files: files}
		for _, f := range files {
			l.Licences = append(l.Licences, f.Licences...)
			l.Holders = append(l.Holders, holders(f.Text)...)
			for _, id := range f.Licences {
				if !slices.Contains(Allowed(), id) {
					errs = append(errs, fmt.Errorf("%s of module %s %s: %s: %w", f.Name, m.Path, m.Version, id, ErrNotAllowed))
				}
			}
		}
		slices.Sort(l.Licences)
		l.Licences = slices.Compact(l.Licences)
		slices.Sort(l.Holders)
		l.Holders = slices.Compact(l.Holders)
		all = append(all, l)
	}
	return all, errors.Join(errs...)
}

// copyrightLine is a line that names a holder, and not one of a licence's own text.
var copyrightLine = regexp.MustCompile(`(?im)^[ \t#*/]*((?:copyright|\(c\)|©)[ \t]+(?:.*[ \t])?\d{4}.*)$`)

// holders are the lines of a text that name holders of copyright.
func holders(text []byte) []string {
	var names []string
	for _, m := range copyrightLine.FindAllSubmatch(text, -1) {
		if !bytes.Contains(m[1], []byte("Free Software Foundation")) { // which holds the GPL's own text
			names = append(names, string(bytes.TrimSpace(m[1])))
		}
	}
	return names
}
