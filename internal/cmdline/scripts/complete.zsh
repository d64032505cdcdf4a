#compdef PROGRAM
# Completion of PROGRAM for zsh. The program itself says what a word can be.
_PROGRAM() {
	local line word
	local -a found
	for line in "${(@f)$(${~words[1]} complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
		word=${line%%$'\t'*}
		case $line in
		'') ;;
		:files) compset -P '--*='; _files ;;
		:folders) compset -P '--*='; _files -/ ;;
		*$'\t'*) found+=("${word//:/\\:}:${line#*$'\t'}") ;;
		*) found+=("${word//:/\\:}") ;;
		esac
	done
	(( $#found )) && _describe PROGRAM found
}
if [ "$funcstack[1]" = _PROGRAM ]; then
	_PROGRAM "$@"
else
	compdef _PROGRAM PROGRAM
fi
