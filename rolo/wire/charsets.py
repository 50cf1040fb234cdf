"""Text in the encodings of the web (the WHATWG's Encoding Standard, section 4.2).

A label that came over the wire never reaches Python's own registry of codecs: that has some
which are no encodings of text, and some whose work grows faster than their input.
"""

from __future__ import annotations

import codecs
import io
import re
import typing as t

from rolo.errors import AmbiguousType, BodyFault, UndecodableBody, UnknownCharset

MAX_LINE = 1024 * 1024
"""Characters of a line; a longer one comes in parts."""


class Codec(t.NamedTuple):
    """One of Python's, and how it lets pass what is not in its encoding."""

    name: str
    errors: str = "surrogateescape"


UTF_8 = Codec("utf-8")
_UTF_16_LE = Codec("utf-16-le", "surrogatepass")
_UTF_16_BE = Codec("utf-16-be", "surrogatepass")

_MARKS = {b"\xef\xbb\xbf": UTF_8, b"\xff\xfe": _UTF_16_LE, b"\xfe\xff": _UTF_16_BE}

# Python's codec, and its labels. Not here, and so opaque: iso-2022-jp, whose escape sequences
# hide ASCII from whoever looks for it, and what is no encoding of its own.
_TABLE = """
utf-8       unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8
utf-16-le   csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le
utf-16-be   unicodefffe utf-16be
cp1252      ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1
cp1252      iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252
cp1250      cp1250 windows-1250 x-cp1250
cp1251      cp1251 windows-1251 x-cp1251
cp1253      cp1253 windows-1253 x-cp1253
cp1254      cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 l5 latin5
cp1254      iso_8859-9:1989 windows-1254 x-cp1254
cp1255      cp1255 windows-1255 x-cp1255
cp1256      cp1256 windows-1256 x-cp1256
cp1257      cp1257 windows-1257 x-cp1257
cp1258      cp1258 windows-1258 x-cp1258
cp874       dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874
cp866       866 cp866 csibm866 ibm866
iso8859-2   csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 l2 latin2
iso8859-3   csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 l3 latin3
iso8859-4   csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 l4 latin4
iso8859-5   csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5
iso8859-6   arabic csisolatinarabic iso-8859-6 iso-ir-127 iso8859-6 iso88596 iso_8859-6
iso8859-7   csisolatingreek greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 iso_8859-7
iso8859-8   csisolatinhebrew hebrew iso-8859-8 iso-8859-8-i iso-ir-138 iso8859-8 iso88598 logical
iso8859-10  csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6
iso8859-13  iso-8859-13 iso8859-13 iso885913
iso8859-14  iso-8859-14 iso8859-14 iso885914
iso8859-15  csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9
iso8859-16  iso-8859-16
koi8-r      cskoi8r koi koi8 koi8-r koi8_r
koi8-u      koi8-ru koi8-u
mac-roman   csmacintosh mac macintosh x-mac-roman
mac-cyrillic x-mac-cyrillic x-mac-ukrainian
gb18030     chinese csgb2312 csiso58gb231280 gb18030 gb2312 gb_2312 gb_2312-80 gbk x-gbk
big5hkscs   big5 big5-hkscs cn-big5 csbig5 x-x-big5
euc_jp      cseucpkdfmtjapanese euc-jp x-euc-jp
cp932       csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis
cp949       cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ksc5601 windows-949
"""
_OF = {codec.name: codec for codec in (UTF_8, _UTF_16_LE, _UTF_16_BE)}
_CODECS = {
    label: _OF.get(name, Codec(name))
    for name, *labels in map(str.split, _TABLE.strip().splitlines())
    for label in labels
}

# RFC 9110 section 5.6.6; a parameter that is none stands between two semicolons all the same.
_PARAMETER = re.compile(r';[ \t]*(?:([^\s;,="]+)=(?:"((?:[^"\\]|\\.)*+)"|([^\s;,"]*)))?', re.DOTALL)


# Up to a comma outside quotes.
_MEMBER = re.compile(r'(?:[^,"]++|"(?:[^"\\]|\\.)*+"?)++', re.DOTALL)


def one_type(values: t.Sequence[str]) -> str:
    """Return what all ``Content-Type`` lines of a head say, be it several times; empty if
    there are none.

    :raises AmbiguousType: they say different things. A browser believes the last of them, in
        a list with commas as well (https://fetch.spec.whatwg.org/#concept-header-extract-mime-type);
        others believe the first.
    """
    if len(values) == 1 and "," not in values[0]:
        return values[0]
    members = [member.strip() for value in values for member in _MEMBER.findall(value)]
    said = {member for member in members if member}
    if len(said) > 1:
        raise AmbiguousType(f"{len(said)} media types: {', '.join(members)[:100]!a}")
    return said.pop() if said else ""


def charset_parameter(content_type: str) -> str | None:
    """Return the label in the first ``charset`` parameter, in lower case, ``None`` without
    one."""
    for name, quoted, token in _PARAMETER.findall(content_type):
        if name.lower() == "charset":
            label: str = re.sub(r"\\(.)", r"\1", quoted) or token
            return label.strip().lower() or None
    return None


def codec_of(label: str) -> Codec:
    """Return what reads and writes text with this label.

    :raises UnknownCharset: it is not one of the web's
    """
    codec = _CODECS.get(label.strip().lower())
    if codec is None:
        raise UnknownCharset(f"text in the encoding {label[:40]!r} cannot be rewritten")
    return codec


def marked(start: bytes, codec: Codec) -> Codec:
    """Return the codec of text that begins with ``start``: a byte order mark is believed
    before a label. The mark is the first character of the text, and written again."""
    if start[:1] in b"\xef\xff\xfe":
        for mark, of_mark in _MARKS.items():
            if start.startswith(mark):
                return of_mark
    return codec


def decode_text(data: bytes, codec: Codec) -> str:
    """Return ``data`` as text.

    :raises UndecodableBody: it is no text at all, half a character of UTF-16, say
    """
    try:
        return data.decode(*codec)
    except UnicodeError as exc:
        raise _broken(codec, exc) from exc


def _broken(codec: Codec, why: UnicodeError) -> BodyFault:
    return UndecodableBody(f"the text is no {codec.name}: {why}")


class Lines:
    """The lines of a text, each with its ``\\n``, read as they come.

    :param pieces: of the body
    :param codec: that of its label
    """

    def __init__(self, pieces: t.Iterable[bytes], codec: Codec) -> None:
        self._pieces = pieces
        self.codec = codec
        """That of the text itself, once its first line is here."""

    def __iter__(self) -> t.Iterator[str]:
        try:
            yield from self._lines()
        except UnicodeDecodeError as exc:
            raise _broken(self.codec, exc) from exc

    def _lines(self) -> t.Iterator[str]:
        # What there is of a line is not looked at, nor copied, again with each piece.
        begun, size = io.StringIO(), 0
        for text in self._texts():
            start = 0
            while end := text.find("\n", start) + 1:
                if size:
                    begun.write(text[start:end])
                    yield begun.getvalue()
                    begun, size = io.StringIO(), 0
                else:
                    yield text[start:end]
                start = end
            if start < len(text):
                size += begun.write(text[start:])
            if size > MAX_LINE:
                yield begun.getvalue()
                begun, size = io.StringIO(), 0
        if size:
            yield begun.getvalue()

    def _texts(self) -> t.Iterator[str]:
        source, start = iter(self._pieces), b""
        for piece in source:
            start += piece
            if len(start) >= 3 or start[:1] not in b"\xef\xff\xfe":
                break
        self.codec = marked(start, self.codec)
        decoder = codecs.getincrementaldecoder(self.codec.name)(self.codec.errors)
        yield decoder.decode(start)
        for piece in source:
            yield decoder.decode(piece)
        yield decoder.decode(b"", True)
