package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// column is one of a table. rank says which is left out first where there is no room: the
// highest; 0 always stays.
type column struct {
	head string
	rank int
}

// table is text in columns that fits a terminal. The first column holds names.
type table struct {
	columns []column
	rows    [][]string
}

const (
	columnGap = 2
	// shortName is how far names are shortened before a column is left out.
	shortName = 32
	leastName = 12
)

// write fits the table into a width, 0 is any. It names the columns that it has left out.
func (t *table) write(out io.Writer, width int) (left []string, err error) {
	shown := make([]int, len(t.columns))
	for i := range shown {
		shown[i] = i
	}
	for width > 0 && t.rest(shown)+min(t.widest(0), shortName) > width {
		last := slices.MaxFunc(shown, func(a, b int) int { return t.columns[a].rank - t.columns[b].rank })
		if t.columns[last].rank == 0 {
			break
		}
		left = append(left, t.columns[last].head)
		shown = slices.DeleteFunc(shown, func(i int) bool { return i == last })
	}
	name := t.widest(0)
	if width > 0 {
		name = min(name, max(width-t.rest(shown), leastName))
	}
	if err := t.line(out, shown, name, func(i int) string { return t.columns[i].head }); err != nil {
		return left, err
	}
	for _, row := range t.rows {
		if err := t.line(out, shown, name, func(i int) string { return row[i] }); err != nil {
			return left, err
		}
	}
	return left, nil
}

func (t *table) line(out io.Writer, shown []int, name int, cell func(i int) string) error {
	var b strings.Builder
	for n, i := range shown {
		text, wide := visible(cell(i)), t.widest(i)
		if n == 0 {
			text, wide = shorten(text, name), name
		}
		b.WriteString(text)
		if n < len(shown)-1 {
			b.WriteString(strings.Repeat(" ", wide-utf8.RuneCountInString(text)+columnGap))
		}
	}
	_, err := fmt.Fprintln(out, b.String())
	return err
}

// widest is the width of a column.
func (t *table) widest(i int) int {
	w := utf8.RuneCountInString(t.columns[i].head)
	for _, row := range t.rows {
		w = max(w, utf8.RuneCountInString(visible(row[i])))
	}
	return w
}

// rest is what all but the names take.
func (t *table) rest(shown []int) int {
	w := 0
	for _, i := range shown[1:] {
		w += columnGap + t.widest(i)
	}
	return w
}

// shorten leaves the middle out: what names have in common is at their beginning, and what
// tells them apart at their end.
func shorten(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	head := (width - 1) / 3
	return string(r[:head]) + "…" + string(r[len(r)-(width-1-head):])
}

// widthOf is how wide the terminal is that out writes to; 0 where it is none.
func widthOf(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	return terminalWidth(f)
}
