# Mode reuse. The script's source stands in a loop of the main program,
#     REQUEST: while (WarmCGI::next_in_reuse()) { local *ARGV; @ARGV = @WarmCGI::ARGS; @_ = (); ... }
# and not in a sub or an eval: caller, $^S, local, die and __FILE__ are what they are in
# plain CGI, and exit is the way to the loop's next round. A script that dies, dies with
# its process: its message and its END blocks are perl's own.
our (%WAS, $SEEDS, $STATUS, $SERVING, @ARGS);
our @ENDS;                            # END blocks of the script's, out of
our $ENDS    = -2;                    # so many, less one, that there are
our @SIGNALS = (sort(keys %SIG), '__WARN__', '__DIE__');
our $BLOCKED = POSIX::SigSet->new;    # the signals that are blocked before the first request

# exit can be called where the loop can't be reached: below a sort block, in a
# destructor. Then the process ends, as ever.
sub exit_request {
    $STATUS = @_ ? $_[0] : 0;
    local $^W = 0;    # it warns of leaving a sub
    eval { next REQUEST } if $SERVING && $$ == $WORKER;
    CORE::exit($STATUS);
}

BEGIN { *CORE::GLOBAL::exit = sub (;$) { unshift @_, 0 if !@_; goto &exit_request } }

# left_loop: the script has said last where there is no loop but ours.
sub left_loop { die qq{Can't "last" outside a loop block.\n} }

# captured lists the lexicals of the main program that named subs and END blocks see, as
# they would see those of the first request for ever, and those that BEGIN has set.
require B;

sub captured {
    my $flag = defined &B::PADNAMEt_OUTER ? B::PADNAMEt_OUTER() : B::SVf_FAKE();
    my $our  = defined &B::PADNAMEt_OUR ? B::PADNAMEt_OUR() : B::SVpad_OUR();
    my %names;
    for my $sub (subs_of_script(), end_blocks()) {
        my $cv = B::svref_2object($sub);
        next if !$cv->can('PADLIST') || !$cv->PADLIST->can('ARRAYelt');
        my $list = $cv->PADLIST->ARRAYelt(0) or next;
        for my $name ($list->ARRAY) {
            next if !$name->can('FLAGS') || !($name->FLAGS & $flag) || $name->FLAGS & $our;
            my $text = $name->can('PV') ? $name->PV : undef;
            $names{$text} = 1 if defined $text && $text =~ /^[\$\@%]\w/;
        }
    }
    my $pads = B::main_cv()->PADLIST;
    my @values = $pads->ARRAYelt(1)->ARRAY;
    my $i = -1;
    for my $name ($pads->ARRAYelt(0)->ARRAY) {
        my $value = $values[++$i];
        next if !$name->can('PV') || ($name->PV // '') !~ /^[\$\@%]\w/ || $name->FLAGS & $our || !$value;
        $names{$name->PV} = 1 if is_set($value->object_2svref);
    }
    return sort keys %names;
}

# is_set: a variable that BEGIN has given a value would be as new after the first request.
sub is_set {
    my $ref = shift;
    return ref $ref eq 'ARRAY' ? @$ref > 0 : ref $ref eq 'HASH' ? %$ref > 0 : defined $$ref;
}

sub subs_of_script {
    my @subs;
    each_stash(sub {
        my ($name, $stash) = @_;
        for my $key (keys %$stash) {
            no strict 'refs';
            my $sub = ref \$stash->{$key} eq 'GLOB' ? *{$stash->{$key}}{CODE} : ref $stash->{$key} eq 'CODE' ? $stash->{$key} : undef;
            push @subs, $sub if $sub && $name ne 'WarmCGI' && (B::svref_2object($sub)->FILE // '') eq $SCRIPT;
        }
    });
    return @subs;
}

# end_blocks are those of the script's own file, and of modules that clean up after a
# request.
sub end_blocks {
    my $list = B::end_av();
    return if !$list->can('ARRAY');
    my $n = $list->FILL;
    return @ENDS if $n == $ENDS;    # none has come
    $ENDS = $n;
    return @ENDS = map { $_->object_2svref } grep { ($_->FILE // '') eq $SCRIPT || ($_->FILE // '') =~ m{/File/Temp\.pm\z} } $list->ARRAY;
}

# remember notes how the process is before the first request.
sub remember {
    my $warn = $^W;
    local $^W = 0;
    $SIG{FPE} = 'IGNORE' if ($SIG{FPE} // '') eq 'IGNORE';    # or perl asks the system each time
    %WAS = (
        signals => signals(), sig => {map { $_ => $SIG{$_} } @SIGNALS}, inc => [@INC], umask => umask, dir => POSIX::getcwd(), locale => POSIX::setlocale(POSIX::LC_ALL()) // 'C',
        vars => [$/, $\, $,, $;, $", $warn, $0, $:, $^L], format => [main::format_of_stdout()],
        layers => {map { $_ => join ':', PerlIO::get_layers($_) } *STDIN, *STDOUT, *STDERR},
        flush => $|, errors => identity(2), control => identity(3),
    );
    open $WAS{stderr}, '>&', 2;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), undef, $BLOCKED);
    $SEEDS = '';
    if (defined &CGI::initialize_globals) {
        no strict 'refs';
        for my $name (grep { /^[A-Za-z_]\w*\z/ && $_ ne 'Q' && ref \$CGI::{$_} eq 'GLOB' } keys %CGI::) {
            my $ref = *{"CGI::$name"}{SCALAR};
            push @{$WAS{cgi}}, [$ref, $$ref] if defined $$ref && !ref $$ref;
        }
    }
    $WAS{fd} = lowest_descriptor();
}

# signals tells one set of handlers from another.
sub signals {
    my @are = @SIG{@SIGNALS};    # and no aliases, which would make elements
    return join ' ', map $_ // '', @are;
}

# Names of formats are looked up in the package that sets them.
sub main::format_of_stdout {
    package main;
    ($~, $^, $=) = @_ if @_;
    return ($~, $^, $=);
}

# lowest_descriptor tells whether descriptors were left open, for two system calls.
sub lowest_descriptor {
    my $fd = POSIX::dup(3) // return -1;
    my $lowest = $fd < 3 ? lowest_descriptor() : $fd;    # the script has closed one
    POSIX::close($fd);
    return $lowest;
}

# next_in_reuse ends the request that was, and begins the next.
sub next_in_reuse {
    if ($SERVING) {
        $SERVING = 0;
        end_request();
    }
    else { remember() }
    @ARGS = next_request();
    undef $_;
    ($@, $^A, $STATUS) = ('', '', 0);
    $SERVING = 1;
    return 1;
}

sub end_request {
    local $?;
    $? = $STATUS;
    my $pid = $$;
    if (my @blocks = end_blocks()) {
        $SERVING = 1;
        for my $block (@blocks) {
            REQUEST: for (1) {
                eval { $block->(); 1 } or print STDERR $@, "END failed--call queue aborted.\n";
                $STATUS = $?;
            }
            $? = $STATUS;
        }
        $SERVING = 0;
    }
    my $code = $?;
    # What the script has forked is no worker, and ends as its parent would have.
    if ($pid != $WORKER) { CORE::exit($code) }
    my $left = clean();
    POSIX::_exit($code & 255) if identity(3) ne $WAS{control};
    finished($code, $left);
    # Anew, without what is in its buffer, and in the place where "-" and so <> find it.
    close STDIN;
    null(copies(0), copies(1));
    local $^W = 0;
    open STDIN, '<&=', 0;
}

# clean puts back what the request has changed. It returns what can't be.
sub clean {
    $^W = 0;
    my @left;
    alarm 0;
    untie *STDOUT if tied *STDOUT;
    untie *STDERR if tied *STDERR;
    untie *STDIN  if tied *STDIN;
    select STDOUT;
    $| = 1;    # flushes
    $| = $WAS{flush};
    flush_all();
    POSIX::dup2(fileno $WAS{stderr}, $_) for identity(2) eq $WAS{errors} ? () : copies(2);
    ($/, $\, $,, $;, $") = @{$WAS{vars}};
    ($:, $^L, $%, $-) = (@{$WAS{vars}}[7, 8], 0, 0);
    $0 = $WAS{vars}[6] if $0 ne $WAS{vars}[6];
    main::format_of_stdout(@{$WAS{format}}) if "@{$WAS{format}}" ne join ' ', main::format_of_stdout();
    for my $name (signals() eq $WAS{signals} ? () : keys %SIG) {
        my ($is, $was) = ($SIG{$name}, $WAS{sig}{$name});
        next if ($is // '') eq ($was // '') && ref $is eq ref $was;
        if (defined $was) { $SIG{$name} = $was }
        elsif ($name =~ /^__/) { delete $SIG{$name} }
        else                   { $SIG{$name} = 'DEFAULT' }
    }
    @INC = @{$WAS{inc}} if "@INC" ne "@{$WAS{inc}}";
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), $BLOCKED);
    umask $WAS{umask};
    chdir $WAS{dir};
    POSIX::setlocale(POSIX::LC_ALL(), $WAS{locale}) if POSIX::setlocale(POSIX::LC_ALL()) ne $WAS{locale};
    if (defined &CGI::initialize_globals) {
        CGI::initialize_globals();
        ${$_->[0]} = $_->[1] for @{$WAS{cgi}};
    }
    delete @INC{grep !defined $INC{$_}, keys %INC} if keys %INC != keys %LOADED;    # could not be loaded
    my $child;
    do { $child = waitpid -1, POSIX::WNOHANG() } while $child > 0;
    push @left, 'children' if $child == 0;
    push @left, 'descriptors' if lowest_descriptor() != $WAS{fd} && !close_handles();
    $^W = $WAS{vars}[5];
    return join ',', @left;
}

# close_handles closes what the request has left open by a name of its own. It reports
# whether that was all.
sub close_handles {
    each_stash(sub {
        my ($name, $stash) = @_;
        return if $name eq 'WarmCGI';
        for my $glob (grep { ref \$_ eq 'GLOB' } values %$stash) {
            my $value = ${*{$glob}{SCALAR}};    # our $fh
            for my $io (*{$glob}{IO}, ref $value && UNIVERSAL::isa($value, 'GLOB') ? *{$value}{IO} : ()) {
                my $fd = $io && fileno $io;
                close $io if defined $fd && $fd >= $WAS{fd};
            }
        }
    });
    return lowest_descriptor() == $WAS{fd};
}

# handles makes the standard handles what they were; their descriptors are right already.
sub handles {
    local $^W = 0;
    tell STDIN;
    $. = 0;
    open STDOUT, '>&=', 1 if fileno STDOUT != 1;
    open STDERR, '>&=', 2 if fileno STDERR != 2;
    for (*STDIN, *STDOUT, *STDERR) {
        my $was = $WAS{layers}{$_};
        next if $was eq join ':', PerlIO::get_layers($_);
        binmode $_, join ':', ':raw', grep !/^(?:unix|perlio)\z/, split /:/, $was;
    }
}

# seed is a seed for rand, from a store: srand itself opens a device each time.
sub seed {
    if (length $SEEDS < 4) {
        open my $h, '<:raw', '/dev/urandom' or return srand;
        sysread $h, $SEEDS, 1024;
    }
    srand unpack 'L', substr $SEEDS, 0, 4, '';
}

# data_at notes where DATA begins: __END__ itself would end the loop's block.
sub data_at {
    my ($package, $at) = @_;
    no strict 'refs';
    my $layers = (caller 0)[8] & 0x00800000 ? ':utf8' : '';    # HINT_UTF8
    push @DATA, [\*{"${package}::DATA"}, $SCRIPT, $at, $layers];
    \*{"${package}::DATA"};    # -w warns of names that are used only once
}
