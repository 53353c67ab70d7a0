/* SPDX-License-Identifier: Apache-2.0 */
/* Text that no shell, terminal, database or document may take for its own: HOSTILE(name, "bytes"). Included
 * by unit tests, and read by tests/e2e/hostile_data: only escapes that C and Python both know stand here
 * (octal, never \x). */
HOSTILE(quotes, "it's \"quoted\" 'twice' \\\" \\' \\")
HOSTILE(command, "$(touch pwned) ${HOME} $HOME $((1+1)) !! ~")
HOSTILE(backticks, "`touch pwned`; touch pwned & touch pwned | touch pwned #")
HOSTILE(newlines, "two\nlines\r\nand\ttabs\013\014\r")
HOSTILE(nul, "before\000after")
HOSTILE(escapes, "\033[31mred\033[2J\033]0;title\007\033Pq#0\033\\\033[6n\b\177")
HOSTILE(c1, "c1 \302\233"
            "31m \302\235"
            "0;title\302\234 \302\220 \302\205 end")
HOSTILE(broken, "\377\376 \200 \303( \355\240\200 \300\257 \360\237\220")
HOSTILE(turned,
        "\342\200\256gnp.exe\342\200\254 \342\201\246x\342\201\251 \331\200\330\234 \342\200\213\357\273\277")
HOSTILE(lines, "line\342\200\250separator\342\200\251paragraph")
HOSTILE(wide, "Gr\303\274\303\237e \346\274\242\345\255\227 \360\237\220\215 e\314\201")
HOSTILE(xml, "]]></testcase><!-- & &#0; &lt; <?x y?> <a b='c'>")
HOSTILE(sql, "'); DROP TABLE reports; -- %_ ?1 :a @b")
HOSTILE(json, "\",\"outcome\":\"passed\"},{\"\\u0000\\ud800\\x00\":[")
HOSTILE(formats, "%s%n%d%99999d {0} {} %% \\033[31m \\n")
HOSTILE(options, "--help -c -rf")
HOSTILE(paths, "..;../../etc:a::b[c]=d,e*?")
HOSTILE(blanks, " \t leading and trailing \t ")
