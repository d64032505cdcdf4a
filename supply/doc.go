// Package supply says what the programs are made of: the modules that are linked into them, under which licences these
// are, and a bill of materials. It is a module of its own, so that nothing it needs gets behind the programs.
package supply
