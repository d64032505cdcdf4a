# An ordinary exit destroys all objects, and pays for each page of the warm parent's that
# it touches. It is only needed where an object with a destructor is alive, or may be. How
# many objects a class has is told by the references to it: each object holds one.
our @HARMLESS = map "${_}::DESTROY", qw(CGI IO::Handle SelectSaver Regexp Encode::Encoding WarmCGI::Env);
our @CLASSES;     # in threes: class, its symbols, the references to it at the fork
our @SYMBOLS;     # in pairs: a package's symbols, and how many there were
our %PACKAGES;    # addresses of the packages' symbols
our $LASTING;     # an object with a destructor may be alive since before the fork

sub note_class {
    my ($name, $stash) = @_;
    push @SYMBOLS, $stash, 0;
    $PACKAGES{0 + $stash} = 1;
    return if $name =~ /^(?:main|UNIVERSAL|WarmCGI)\z/;
    push @CLASSES, $name, $stash, 0 if destroys($name) || !in_library(file_of_package($name));
}

# count_classes comes after all is looked up that is looked up: perl notes in a package
# which methods it has not.
sub count_classes {
    for (my $i = 0; $i < @SYMBOLS; $i += 2) { $SYMBOLS[$i + 1] = %{$SYMBOLS[$i]} }
    for (my $i = 0; $i < @CLASSES; $i += 3) {
        my $name  = $CLASSES[$i];
        my $count = $CLASSES[$i + 2] = Internals::SvREFCNT(%{$CLASSES[$i + 1]});
        # Three are its own and ours. Each "our" is one, too; who would count them?
        next if $LASTING || $count == 3 || !destroys($name);
        my $file = file_of_package($name);
        $file = file_of_package($name) while !length $file && $name =~ s/::\w+\z//;
        $LASTING = !in_library($file);
    }
}

sub file_of_package { (my $file = shift) =~ s{::}{/}g; return $INC{"$file.pm"} // '' }

sub destroys {
    my $destroy = UNIVERSAL::can($_[0], 'DESTROY') || UNIVERSAL::can($_[0], 'AUTOLOAD') || return 0;
    return !grep { defined &$_ && \&$_ == $destroy } @HARMLESS;
}

# to_destroy reports whether the script may have made something that has to be destroyed.
sub to_destroy {
    return 1 if $LASTING || keys %INC != keys %LOADED || $INC{'threads.pm'};
    for (my $i = 0; $i < @CLASSES; $i += 3) {
        return 1 if Internals::SvREFCNT(%{$CLASSES[$i + 1]}) > $CLASSES[$i + 2] && destroys($CLASSES[$i]);
    }
    for (my $i = 0; $i < @SYMBOLS; $i += 2) {
        next if $SYMBOLS[$i + 1] == %{$SYMBOLS[$i]};
        return 1 if grep { /::\z/ && !$PACKAGES{0 + \%{$SYMBOLS[$i]{$_}}} } keys %{$SYMBOLS[$i]};
    }
    return 0;
}
