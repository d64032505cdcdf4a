# Completion of PROGRAM for fish. The program itself says what a word can be.
function __complete_PROGRAM
	set -l words (commandline -opc)
	set -l current (commandline -ct)
	set -l program $words[1]
	set -e words[1]
	for line in ($program complete -- $words "$current" 2>/dev/null)
		switch $line
			case :files
				__fish_complete_path "$current"
			case :folders
				__fish_complete_directories "$current"
			case '*'
				printf '%s\n' $line
		end
	end
end
complete -c PROGRAM -f -a '(__complete_PROGRAM)'
