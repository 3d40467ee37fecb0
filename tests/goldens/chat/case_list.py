"""Small templates, each for one promise of the interpreter. Expected output comes from jinja2."""

VARIABLES = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " Grüße, 世界 🙂 "},
        {"role": "assistant", "content": "", "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {"b": 1, "a": [1.5, None]}}}]},
    ],
    "tools": None,
    "documents": None,
    "add_generation_prompt": True,
    "name": "Ada", "empty": "", "n": 7, "x": 2.5, "yes": True, "nothing": None,
    "xs": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"],
    "d": {"b": 1, "a": 2, "items": 3}, "deep": {"a": {"b": [{"c": "found"}]}},
    "rows": [{"n": 1, "t": "a"}, {"n": 2, "t": "b"}, {"n": 3, "t": "a"}, {"t": "c"}],
    "text": "one two  three\nfour", "html": "<a href=\"x\">&'", "uni": "Straße ÉCOLE ǆ ﬁ",
}

OUTPUT = [
    "plain text", "", "a\nb\n", "a\n\n", "a\r\nb\rc\r\n", "{{ name }}", "{{ 1 }}{{ 2.0 }}{{ 'x' }}",
    "{{ nothing }}|{{ yes }}|{{ not yes }}|{{ missing }}|", "{{ xs }} {{ d }} {{ (1,) }} {{ () }} {{ [] }} {{ {} }}",
    "{{ ['it\\'s', \"q\\\"\", 'both\\'\"', '\\n\\t\\\\', 'é🙂', '\\x01\\x7f\\u200b'] }}",
    "{{ [1, 2.0, 1e100, 1e16, 1e15, 0.0001, 0.00001, -0.0, 123456789.125, 1e-7, 2.5e+20] }}",
    "{{ 1e308 * 10 }} {{ -1e308 * 10 }} {{ 0.1 + 0.2 }} {{ 100000000000000000.0 }}",
    "{{ [none, true, missing] }}", "{{ d.items() }} {{ d.keys() }} {{ d.values() }} {{ range(3) }} {{ range(1, 9, 2) }}",
    "{{ deep }}", "{{ [nothing, [name, [x]]] }}", "{{ messages[2] }}", "{{ 'a' 'b' \"c\" }}", "{% set größe = 1 %}{{ größe }}{{ {'é': 2}.é }}{{ meſsages }}|", "{{ é² }}",
    "{{ '\\u00e9\\x41\\101\\U0001f642\\q\\é' }}", "{{ 'line\\\nbroken' }}", "{{ 'tab\\tnew\\nend' }}",
]

WHITESPACE = [
    "a {{- name -}} b", "a {{ name }} b", "a\n{%- if yes %}\n b\n{%- endif %}\nc", "a\n  {% if yes %}\n  b\n  {% endif %}\nc",
    "a\n  {%+ if yes %}\n  b\n  {%+ endif %}\nc", "a\n  {% if yes +%}\n  b\n  {% endif +%}\nc", "x  {% if yes %}  y  {% endif %}  z",
    "{% if yes %}\n\n\nb{% endif %}", "a\n{# note #}\nb", "a\n  {#- note -#}  \nb", "a {# x #} b", "a\n   {# x #}   \nb", "{#\n many\n lines\n#}x",
    "{% raw %}{{ name }} {% if %}{% endraw %}", "a\n  {% raw %}\n  {{ x }}\n  {% endraw %}\nb", "{%- raw -%}  {{ x }}  {%- endraw -%}  z", "{% raw +%}x{% endraw %}",
    "   {{ name }}   ", "\n\n{% set a = 1 %}\n\n{{ a }}\n\n", "{{ name }}\n{{ name }}\n", "\u00a0{%- if yes -%}\u2003x\u3000{%- endif %}",
    "{% for i in xs %}\n  {{ i }}\n{% endfor %}\n", "{% for i in xs -%}\n  {{ i }}\n{%- endfor %}", "{{-1}} {{ -1 }}", "{% if yes %}{% endif %}\n\nx",
    "{{ '}}' }} {{ \"%}\" }} {{ {'a': {'b': 1}} }}", "{{ {'a': {}}['a'] }}",
]

OPERATORS = [
    "{{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }}",
    "{{ 2 ** 10 }} {{ 2 ** 3 ** 2 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 4 ** 0.5 }}", "{{ 7.5 // 2 }} {{ -7.5 // 2 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }} {{ 6 / 3 }}",
    "{{ 9223372036854775807 }} {{ -9223372036854775807 - 1 }}", "{{ true + 1 }} {{ true + true }} {{ -true }} {{ +false }}",
    "{{ 'a' ~ 1 ~ none ~ 2.0 ~ xs }}", "{{ 'ab' * 3 }}{{ 2 * 'x' }}{{ 'x' * -1 }} {{ [1] * 2 }} {{ (1, 2) + (3,) }} {{ [1] + [2] }}",
    "{{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' == 'a' }} {{ [1, [2]] == [1.0, [2]] }} {{ {'a': 1} == {'a': 1.0} }} {{ (1,) == [1] }} {{ none == false }}",
    "{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 2 >= 2.0 }} {{ 1 != 2 }} {{ 'é' > 'z' }}",
    "{{ 1 in xs }} {{ 9 not in xs }} {{ 'a' in d }} {{ 'wo' in text }} {{ '' in empty }} {{ 1 in (1, 2) }} {{ 1 in range(3) }} {{ 1 in missing }}",
    "{{ yes and name }} {{ empty or 'else' }} {{ nothing and 1 }} {{ not empty }} {{ not xs }} {{ 0 or [] or 'z' }}",
    "{{ 'a' if yes else 'b' }} {{ 'a' if empty else 'b' }}|{{ 'a' if empty }}|{{ 1 if 0 else 2 if 0 else 3 }}",
    "{{ not 1 == 2 }} {{ not (1 == 2) and true }} {{ (1 + 2) ~ 3 * 4 }} {{ 2 * 3 ~ 4 }}", "{{ - - 1 }} {{ -n|abs }} {{ (-n)|abs }} {{ -1 ** 2 }}",
    "{{ '%s-%d-%05.1f-%x' % ('a', 3, 2.25, 255) }} {{ '%s' % name }} {{ '%(a)s' % {'a': 1} }} {{ '%5s|%-5s|' % ('a', 'b') }} {{ '100%%' % () }}",
    "{{ 1_000 + 0x1F + 0b11 + 0o17 }} {{ 1e3 }} {{ 1.5e-3 }}", "{{ 1 / 0 }}", "{{ 1 // 0 }}", "{{ 'a' + 1 }}", "{{ missing + 1 }}", "{{ 1 < 'a' }}",
    "{{ none + 1 }}", "{{ [1] + (2,) }}", "{{ 1 in 5 }}", "{{ 1 in 'a' }}", "{{ -'a' }}", "{{ missing == missing2 }} {{ missing == none }} {{ missing != 1 }}",
    "{{ {1: 'a', 2.0: 'b', none: 'c', (1, 2): 'd', true: 'e'} }}", "{{ {[1]: 2} }}", "{{ 1 if 2 if 3 else 4 else 5 }}",
]

ACCESS = [
    "{{ deep.a.b[0].c }} {{ deep['a']['b'][0]['c'] }} {{ deep.a.b.0.c }}", "{{ d.b }} {{ d['b'] }} {{ d['items'] }} {{ d.items()|list }}", "{{ xs[0] }}{{ xs[-1] }}{{ xs[9] }}|{{ name[1] }}{{ name[-1] }}",
    "{{ text[::-3] }}|{{ text[2:9:2] }}|{{ xs[::99] }}{{ xs[::-99] }}{{ uni[3:3] }}{{ uni[-3:] }}{{ uni[:99] }}", "{{ xs[1:] }} {{ xs[:-1] }} {{ xs[::-1] }} {{ xs[::2] }} {{ xs[5:] }} {{ xs[-2:] }} {{ xs[2:0:-1] }} {{ xs[:] }}", "{{ text[4:7] }} {{ messages[1].content[1:3] }} {{ messages[1].content[::-1] }} {{ text[-4:] }}",
    "{{ (1, 2, 3)[1:] }} {{ range(10)[3] }}", "{{ missing }}|{{ d.nope }}|{{ d['nope'] }}|{{ name.nope }}|{{ nothing.nope }}|{{ n.nope }}", "{{ missing.attribute }}", "{{ missing['x'] }}", "{{ d.nope.more }}", "{{ missing() }}", "{{ name() }}",
    "{{ xs.append(1) }}", "{{ d.update({}) }}", "{{ xs.append is defined }} [{{ xs.append }}]", "{{ d.pop('a') }}", "{{ name.__class__ }}|", "{{ name.__class__.mro() }}", "{{ xs[1.5] }}|{{ xs['a'] }}|{{ xs[true] }}", "{{ d[['a']] }}|", "{{ xs['0'] }}|{{ {'0': 1}.0 }}|{{ {0: 1}.0 }}", "{{ xs[::0] }}", "{{ missing[1:] }}", "{{ d[1:] }}", "{{ xs['a':] }}",
]

STATEMENTS = [
    "{% if n > 5 %}big{% elif n > 3 %}mid{% else %}small{% endif %}", "{% if empty %}a{% elif nothing %}b{% endif %}|", "{% for i in xs %}{{ i }}{% else %}none{% endfor %}{% for i in [] %}{{ i }}{% else %}none{% endfor %}",
    "{% for i in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}", "{% for i in xs %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}",
    "{% for i in range(5) %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in [1, 1, 2, 2, 1] %}{{ loop.changed(i) }} {% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for a, b in [[1, 2], 'xy'] %}{{ a }}{{ b }}{% endfor %}", "{% for a, b in [[1]] %}{{ a }}{% endfor %}", "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}",
    "{% for i in xs if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% endfor %}", "{% for i in xs if i > 5 %}{{ i }}{% else %}none{% endfor %}", "{% for c in 'añ🙂' %}[{{ c }}]{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for i in missing %}{{ i }}{% endfor %}|", "{% for i in nothing %}{{ i }}{% endfor %}", "{% for i in 5 %}{{ i }}{% endfor %}", "{% for i in 1, 2 %}{{ i }}{% endfor %}",
    "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in xs %}{% for j in xs %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{{ loop.index }};{% endfor %}", "{% break %}", "{% for i in xs %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% set a = 1 %}{% set a, b = 2, 3 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set a %}x{{ n }}y{% endset %}{{ a }}{{ a|length }}", "{% set a | upper | replace('X', 'z') %}x{{ name }}{% endset %}{{ a }}", "{% set (a, b) = (1, 2) %}{{ a + b }}", "{% set a = 1 %}{% for i in xs %}{{ a }}{% set a = i %}{{ a }} {% endfor %}{{ a }}", "{% if yes %}{% set a = 1 %}{% endif %}{{ a }}", "{% set a %}{% set inner = 1 %}{% endset %}{{ inner }}|",
    "{% set ns = namespace(a=1, b='x') %}{% for i in xs %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{{ ns['b'] }}", "{% set ns = namespace({'q': 1}, r=2) %}{% set ns.q, z = 5, 6 %}{{ ns.q }}{{ ns.r }}{{ z }}", "{% set d.a = 1 %}", "{% set ns = namespace() %}{% set ns.t %}body{% endset %}{{ ns.t }}", "{% set ns = namespace(last='') %}{% for m in messages if m.role != ns.last %}{% set ns.last = m.role %}{{ m.role }} {% endfor %}",
    "{% macro m(a, b=2, c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, c=5) }}{{ m(b=3, a=4) }}{{ m() }}", "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, z=4) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}", "{% macro f(n) %}{{ n }}{% if n > 0 %} {{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro m() %}{{ late }}{% endmacro %}{% set late = 'now' %}{{ m() }}", "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in{{ n }}{% endcall %}", "{% macro m(xs) %}{% for x in xs %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(v) m(xs) %}({{ v }}){% endcall %}", "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}", "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}", "{% macro m(a) %}{{ a|upper }}{% endmacro %}{{ m('x')|length }}{{ m(*['y']) }}{{ m(**{'a': 'z'}) }}",
    "{% filter upper %}a{{ name }}{% endfilter %}", "{% filter replace('a', 'b')|upper %}banana{% endfilter %}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}|", "{% set a = 5 %}{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% generation %}{{ name }}{% set q = 1 %}{% endgeneration %}{{ q }}|", "{% for m in messages %}{% generation %}{{ m.role }}{{ loop.last }}{% endgeneration %} {% endfor %}",
    "{{ raise_exception('no') }}", "{{ strftime_now('%Y-%m-%d %H:%M:%S %A %B %j') }}", "{% if false %}{{ raise_exception('no') }}{% endif %}ok", "{{ range(3)|list }}{{ range(5, 0, -2)|list }}{{ range(0)|list }}", "{{ range(100001) }}", "{{ range(0, 5, 0) }}", "{{ dict(a=1, b=2) }}{{ dict({'x': 1}, y=2) }}{{ dict([('k', 'v')]) }}",
    "{% if x %}", "{% endif %}", "{{ x", "{% unknown %}", "{% for x %}{% endfor %}", "{{ 1 + }}", "{{ x y }}", "{{ 'open }}", "{# open", "{% raw %}", "{{ (1 }}", "{{ 1) }}", "{% set 1 = 2 %}", "{% set none = 2 %}", "{% if yes %}a{% else %}b{% else %}c{% endif %}", "{{ a.1b }}", "{{ @ }}", "{% for i in xs %}{% set loop = 1 %}{% endfor %}", "{% macro m(a, a) %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ m(a=1, a=2) }}", "{{ m(a=1, 2) }}", "{{ x is defined is string }}",
]

FILTERS = [
    "{{ '  a b '|trim }}|{{ 'xxaxx'|trim('x') }}|{{ '\u00a0\u3000a\u2003'|trim }}|{{ missing|trim }}|{{ 5|trim }}|{{ none|trim }}", "{{ name|upper }}{{ name|lower }}{{ uni|upper }}|{{ uni|lower }}|{{ uni|capitalize }}|{{ uni|title }}", "{{ 'hello wORLD foo-bar (baz) it\\'s'|title }}|{{ 'hELLO'|capitalize }}",
    "{{ xs|length }}{{ name|count }}{{ d|length }}{{ messages[1].content|length }}{{ missing|length }}", "{{ n|length }}", "{{ xs|join }}|{{ xs|join(', ') }}|{{ rows|join('-', attribute='t') }}|{{ [1, none, 'a', 2.0]|join('+') }}|{{ 'abc'|join('.') }}", "{{ missing|default('x') }}|{{ empty|default('x') }}|{{ empty|default('x', true) }}|{{ none|d('x') }}|{{ none|d('x', boolean=true) }}|{{ missing|d }}|{{ d.nope|d(1) }}",
    "{{ 'aaa'|replace('a', 'b') }}{{ 'aaa'|replace('a', 'b', 2) }}{{ 'abc'|replace('', '-') }}{{ 123|replace(2, 'x') }}", "{{ xs|first }}{{ xs|last }}{{ 'ab'|first }}{{ 'ab'|last }}{{ []|first }}{{ []|last }}|{{ d|first }}{{ d|last }}", "{{ 'abc'|list }}{{ d|list }}{{ (1, 2)|list }}{{ missing|list }}", "{{ 5|string + 'a' }}{{ none|string }}{{ xs|string|length }}",
    "{{ '42'|int }} {{ ' 42 '|int }} {{ '4.7'|int }} {{ -4.7|int }} {{ 'x'|int }} {{ 'x'|int(9) }} {{ none|int }} {{ true|int }} {{ '0x1f'|int(base=16) }} {{ '1_000'|int }} {{ 'ff'|int(0, 16) }} {{ '1e3'|int }}", "{{ '4.5'|float }} {{ 'x'|float }} {{ 'x'|float(1.5) }} {{ 3|float }} {{ '1e3'|float }} {{ 'inf'|float }} {{ none|float }} {{ ' 1_0.5 '|float }}", "{{ -5|abs }}{{ (-5.5)|abs }}{{ true|abs }}", "{{ 'a'|abs }}", "{{ missing|int }}", "{{ missing|abs }}",
    "{{ rows|map(attribute='t')|join }}|{{ rows|map(attribute='n', default=0)|list }}|{{ words|map('upper')|join(',') }}|{{ xs|map('string')|list }}|{{ [[1, 2], [3]]|map('join', '-')|list }}|{{ missing|map('upper')|list }}", "{{ rows|map(attribute='n')|list }}", "{{ [deep]|map(attribute='a.b.0.c')|first }}", "{{ rows|selectattr('n')|map(attribute='n')|list }}{{ rows|selectattr('t', 'equalto', 'a')|list|length }}{{ rows|rejectattr('t', '==', 'a')|map(attribute='t')|list }}{{ rows|selectattr('n', 'defined')|list|length }}",
    "{{ xs|select('odd')|list }}{{ xs|reject('odd')|list }}{{ [0, 1, '', 'a', none]|select|list }}{{ xs|select('gt', 1)|list }}{{ [1, 'a', 2.0]|select('string')|list }}{{ words|select('in', ['fig'])|list }}", "{{ d|items|list }}{{ missing|items|list }}", "{{ xs|items|list }}", "{{ d|dictsort }}{{ {'B': 1, 'a': 2, 'C': 0}|dictsort }}{{ {'B': 1, 'a': 2}|dictsort(true) }}{{ {'x': 2, 'y': 1}|dictsort(by='value') }}{{ d|dictsort(reverse=true) }}",
    "{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent(2, blank=true) }}|{{ 'a\nb'|indent('> ') }}|{{ 'a\r\nb\n'|indent(1) }}", "{{ words|unique|list }}{{ words|unique(true)|list }}{{ rows|unique(attribute='t')|map(attribute='t')|list }}{{ [1, 1.0, true, 2]|unique|list }}", "{{ xs|sort }}{{ words|sort }}{{ words|sort(case_sensitive=true) }}{{ xs|sort(reverse=true) }}{{ rows[:3]|sort(attribute='t')|map(attribute='n')|list }}{{ rows[:3]|sort(attribute='t,n', reverse=true)|map(attribute='n')|list }}", "{{ [1, 'a']|sort }}", "{{ xs|reverse|list }}{{ 'añ🙂'|reverse }}{{ (1, 2)|reverse|list }}{{ d|reverse|list }}",
    "{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 42.55|round(1, 'floor') }} {{ 42.51|round(1, 'ceil') }} {{ 7|round }} {{ -2.5|round }} {{ 1.005|round(2) }} {{ 1e20|round }}", "{{ xs|sum }} {{ [1.5, 2]|sum }} {{ rows[:3]|sum(attribute='n') }} {{ xs|sum(start=10) }} {{ []|sum }} {{ [[1], [2]]|sum(start=[]) }}", "{{ xs|min }}{{ xs|max }}{{ words|min }}{{ words|max }}{{ rows[:3]|max(attribute='n') }}{{ []|max }}|{{ words|min(case_sensitive=true) }}", "{{ html|escape }} {{ html|e }} {{ html|safe }} {{ (html|safe) ~ html }} {{ ['<'|e] }}", "{{ xs|nofilter }}", "{{ '%s and %s'|format('a', 1) }} {{ '%(x)s'|format(x=2) }}",
    "{{ d|tojson }} {{ deep|tojson }} {{ messages|tojson }}", "{{ d|tojson(indent=2) }}", "{{ {'a': [], 'b': {}, 'c': [1, {'d': 2}]}|tojson(indent=4) }}", "{{ [1, 2.0, 1e100, none, true, 'q\"\\\\/\\n\\t\\u0001\\u007f<>&\\'é🙂\\u2028']|tojson }}", "{{ 'é🙂\\u007f'|tojson(ensure_ascii=true) }} {{ d|tojson(sort_keys=true) }} {{ d|tojson(separators=(',', ':')) }}", "{{ {1: 2, none: 3, true: 4, 1.5: 5}|tojson }} {{ (1, 2)|tojson }} {{ 'x'|tojson }} {{ none|tojson }}", "{{ missing|tojson }}", "{{ range(3)|tojson }}", "{{ [1e308 * 10, -(1e308 * 10)]|tojson }}", "{{ d|tojson(indent='\\t') }}|{{ [1]|tojson(indent=0) }}", "{{ xs|map('odd')|list }}", "{{ (xs|map('string'))|length }}", "{% set g = xs|map('string') %}{{ g|list }}{{ g|list }}", "{{ xs|select('odd')|join(',') }}{{ (xs|select('odd')) is iterable }}",
]

TESTS = [
    "{{ name is defined }} {{ missing is defined }} {{ missing is undefined }} {{ d.nope is undefined }} {{ nothing is defined }}", "{{ nothing is none }} {{ missing is none }} {{ name is string }} {{ n is number }} {{ x is number }} {{ yes is number }} {{ n is integer }} {{ yes is integer }} {{ x is float }} {{ n is float }} {{ yes is boolean }} {{ n is boolean }}", "{{ d is mapping }} {{ xs is mapping }} {{ xs is iterable }} {{ name is iterable }} {{ d is iterable }} {{ n is iterable }} {{ missing is iterable }} {{ nothing is iterable }}", "{{ xs is sequence }} {{ name is sequence }} {{ d is sequence }} {{ n is sequence }} {{ missing is sequence }} {{ range(2) is sequence }} {{ d.items() is sequence }}",
    "{{ yes is true }} {{ yes is false }} {{ 1 is true }} {{ 0 is false }} {{ yes is sameas true }} {{ nothing is sameas none }} {{ xs is sameas xs }}", "{{ 3 is odd }} {{ 3 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }}", "{{ n is eq 7 }} {{ n is equalto(7) }} {{ n is ne 7 }} {{ n is lt 8 }} {{ n is gt 8 }} {{ n is le 7 }} {{ n is ge 8 }} {{ n is greaterthan 6 }} {{ n is lessthan 6 }}", "{{ 1 is in xs }} {{ 9 is not in xs }} {{ 'a' is in 'abc' }}", "{{ name is not string }} {{ missing is not defined and yes }} {{ yes is defined or missing }} {{ 'y' if name is defined else 'n' }}", "{{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 'a1' is lower }} {{ '1' is upper }}", "{{ range is callable }} {{ name is callable }} {{ missing is callable }}", "{{ name is nosuchtest }}", "{{ x is defined is string }}", "{{ missing is odd }}", "{{ xs is string or xs is iterable and not yes }}",
]

METHODS = [
    "{{ ' a '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xya'.lstrip('yx') }}|{{ 'axy'.rstrip('xy') }}|{{ ' a '.lstrip() }}|{{ ' a '.rstrip() }}|{{ 'éaé'.strip('é') }}", "{{ text.split() }}{{ 'a,b,,c'.split(',') }}{{ 'a,b,c'.split(',', 1) }}{{ ''.split() }}{{ ''.split(',') }}{{ ' a  b '.split(none, 1) }}{{ 'a--b'.split('--')[-1] }}", "{{ 'a.b.c'.rsplit('.', 1) }}{{ 'a\nb\r\nc\n'.splitlines() }}", "{{ name.startswith('A') }}{{ name.endswith('a') }}{{ name.startswith(('x', 'A')) }}{{ name.startswith('') }}", "{{ name.upper() }}{{ name.lower() }}{{ 'they\\'re bill'.title() }}{{ 'hELLO'.capitalize() }}{{ uni.title() }}{{ uni.capitalize() }}{{ 'ß'.upper() }}",
    "{{ 'aXbXc'.replace('X', '-') }}{{ 'aaa'.replace('a', 'b', 1) }}{{ ', '.join(['a', 'b']) }}{{ 'aéb'.find('b') }}{{ 'abc'.find('z') }}{{ 'banana'.count('an') }}{{ 'banana'.rfind('an') }}{{ 'abc'.index('c') }}", "{{ '{} and {}'.format(1, 'b') }}{{ '{0}{1}{0}'.format('a', 'b') }}{{ '{x:>5}|{y:.2f}|{z:05d}'.format(x='a', y=3.14159, z=42) }}{{ '{{}}'.format() }}{{ '{:,}'.format(1234567) }}{{ '{!r}'.format('a') }}", "{{ d.get('a') }}{{ d.get('z') }}{{ d.get('z', 'dflt') }}{{ d.keys()|list }}{{ d.values()|list }}{{ d.items()|list }}", "{{ xs.index(1) }}{{ xs.count(3) }}{{ (1, 1).count(1) }}", "{{ 'abc'.index('z') }}", "{{ xs.index(99) }}", "{{ ', '.join([1]) }}", "{{ 'abc'.nosuch() }}", "{{ 'a=b=c'.partition('=') }}{{ 'a=b=c'.rpartition('=') }}{{ 'abc'.partition('=') }}", "{{ '12'.isdigit() }}{{ 'a1'.isalnum() }}{{ 'a'.isalpha() }}{{ ' '.isspace() }}{{ ''.isdigit() }}{{ 'Ab'.isupper() }}{{ 'ab'.islower() }}", "{{ 'prefix-x'.removeprefix('prefix-') }}{{ 'x.py'.removesuffix('.py') }}{{ 'ab'.ljust(4) }}|{{ 'ab'.rjust(4, '*') }}",
    "{{ ''.split('') }}", "{{ '{}'.format() }}", "{{ '%d' % 'a' }}", "{{ '%s %s' % ('a',) }}",
]

CASES = OUTPUT + WHITESPACE + OPERATORS + ACCESS + STATEMENTS + FILTERS + TESTS + METHODS
