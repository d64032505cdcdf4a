# Completion of PROGRAM for bash. The program itself says what a word can be.
_PROGRAM() {
	local cur=${COMP_WORDS[COMP_CWORD]} word rest
	[ "$cur" = "=" ] && cur=""
	COMPREPLY=()
	while IFS=$'\t' read -r word rest; do
		case $word in
		:files | :folders)
			compopt -o filenames 2>/dev/null
			local kind=-f name
			[ "$word" = :folders ] && kind=-d
			while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen "$kind" -- "$cur")
			;;
		*) COMPREPLY+=("$word") ;;
		esac
	done < <("$1" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _PROGRAM PROGRAM
