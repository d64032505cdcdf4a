package config

import (
	"fmt"

	"warmcgi/internal/mapping"
)

// checkParams refuses what can't be meant in a change of parameters.
func (d *decoder) checkParams(key string, p *ParamStep) {
	name := func(key, name string) {
		if err := mapping.CheckName(name); err != nil {
			d.refuse(d.src.key(key, "%v", err))
		}
	}
	value := func(key string, err error) {
		if err != nil {
			d.refuse(d.src.value(key, "%v", err))
		}
	}
	switch d.exactlyOne(key, "set", "unset", "rename", "use") {
	case "set":
		d.checkSome(key+".set", len(p.Set))
		for n, v := range p.Set {
			at := childKey(key+".set", n)
			name(at, n)
			value(at, mapping.CheckText(v))
		}
	case "unset":
		d.checkNotEmpty(key+".unset", len(p.Unset))
		for i, n := range p.Unset {
			value(fmt.Sprintf("%s.unset[%d]", key, i), mapping.CheckName(n))
		}
	case "rename":
		d.checkSome(key+".rename", len(p.Rename))
		d.checkRename(key+".rename", p.Rename, name, value)
	case "use":
		if _, ok := mapping.Named(p.Use); !ok {
			var names []string
			for _, m := range mapping.All() {
				names = append(names, m.Name)
			}
			d.refuse(d.src.value(key+".use", "there is no mapping %q (there is %s)", p.Use, list(names, "and")))
		}
	}
}

func (d *decoder) checkSome(key string, n int) {
	if n == 0 {
		d.refuse(d.src.value(key, "names no parameter"))
	}
}

func (d *decoder) checkRename(key string, names map[string]string, name func(key, name string), value func(key string, err error)) {
	first := map[string]string{}
	for from, to := range names {
		at := childKey(key, from)
		name(at, from)
		value(at, mapping.CheckName(to))
		if from == to {
			d.refuse(d.src.value(at, "is the name that it has already"))
		}
		if other, ok := first[to]; ok {
			d.refuse(d.src.key(key, "%s and %s get the same name", min(from, other), max(from, other)))
		}
		first[to] = from
	}
}
