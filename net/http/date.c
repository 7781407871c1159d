/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/date.c: HTTP's dates (RFC 9110 §5.6.7).
 *
 * Calendar arithmetic is by days from 1970 in 400-year eras (the civil calendar of Hinnant, "chrono-
 * Compatible Low-Level Date Algorithms"), because timegm() and strptime() ask locale and zone.
 */
#include "net/http/date.h"

#include "runtime/sched/shard.h"

#include <errno.h>
#include <string.h>

#define DAY_SECONDS INT64_C(86400)

static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					"Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct civil {
	int64_t year;
	int month; /* 1 to 12 */
	int day;   /* 1 to 31 */
};

static struct civil civil_of(int64_t days)
{
	int64_t z = days + 719468; /* from 0000-03-01 */
	int64_t era = z / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int mp = (int)((5 * doy + 2) / 153);
	int month = mp < 10 ? mp + 3 : mp - 9;

	return (struct civil){
		.year = yoe + era * 400 + (month <= 2),
		.month = month,
		.day = (int)(doy - (153 * mp + 2) / 5 + 1),
	};
}

static int64_t days_of(struct civil c)
{
	int64_t y = c.year - (c.month <= 2);
	int64_t era = y / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (c.month > 2 ? c.month - 3 : c.month + 9) + 2) / 5 + c.day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void put2(char *at, int64_t value)
{
	at[0] = (char)('0' + value / 10);
	at[1] = (char)('0' + value % 10);
}

void apus_http_date_format(int64_t second, char out[APUS_HTTP_DATE_BYTES])
{
	int64_t days = second / DAY_SECONDS, rest = second % DAY_SECONDS;
	struct civil c = civil_of(days);

	static const char form[] = "Day, 00 Mon 0000 00:00:00 GMT";

	static_assert(sizeof(form) - 1 == APUS_HTTP_DATE_BYTES, "IMF-fixdate");
	memcpy(out, form, sizeof(form) - 1);
	memcpy(out, day_names[(days + 4) % 7], 3); /* 1970 began on a Thursday */
	put2(out + 5, c.day);
	memcpy(out + 8, month_names[c.month - 1], 3);
	put2(out + 12, c.year / 100);
	put2(out + 14, c.year % 100);
	put2(out + 17, rest / 3600);
	put2(out + 20, rest / 60 % 60);
	put2(out + 23, rest % 60);
}

const char *apus_http_date_line(struct apus_http_date *d)
{
	int64_t now_ns = apus_now();

	if (now_ns < d->until_ns)
		return d->line;

	int64_t wall_ns = apus_wall_now();

	d->until_ns = now_ns + APUS_SEC - wall_ns % APUS_SEC;
	memcpy(d->line, "Date: ", 6);
	apus_http_date_format(wall_ns / APUS_SEC, d->line + 6);
	memcpy(d->line + 6 + APUS_HTTP_DATE_BYTES, "\r\n", 2);
	return d->line;
}

/* -------------------------------------------------------------------------------------- parse */

/* The text that is left. A step that does not fit sets `bad`, and all later ones do nothing. */
struct cursor {
	const char *at, *end;
	bool bad;
};

static void expect(struct cursor *c, const char *word)
{
	size_t len = strlen(word);

	if (c->bad || (size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0) {
		c->bad = true;
		return;
	}
	c->at += len;
}

static int64_t number(struct cursor *c, int digits)
{
	int64_t value = 0;

	for (int i = 0; i < digits; i++) {
		if (c->bad || c->at == c->end || *c->at < '0' || *c->at > '9') {
			c->bad = true;
			return 0;
		}
		value = value * 10 + (*c->at++ - '0');
	}
	return value;
}

static int month(struct cursor *c)
{
	for (int i = 0; i < 12 && !c->bad && c->end - c->at >= 3; i++) {
		if (memcmp(c->at, month_names[i], 3) == 0) {
			c->at += 3;
			return i + 1;
		}
	}
	c->bad = true;
	return 1;
}

/* "08:49:37" as seconds of the day. */
static int64_t time_of_day(struct cursor *c)
{
	int64_t h = number(c, 2);
	expect(c, ":");
	int64_t m = number(c, 2);
	expect(c, ":");
	int64_t s = number(c, 2);

	c->bad |= h > 23 || m > 59 || s > 60; /* a leap second is one */
	return h * 3600 + m * 60 + s;
}

/* Behind "Sun, ": "06 Nov 1994 08:49:37 GMT". */
static int64_t imf_fixdate(struct cursor *c, struct civil *date)
{
	date->day = (int)number(c, 2);
	expect(c, " ");
	date->month = month(c);
	expect(c, " ");
	date->year = number(c, 4);
	expect(c, " ");

	int64_t seconds = time_of_day(c);

	expect(c, " GMT");
	return seconds;
}

/* Behind "Sunday, ": "06-Nov-94 08:49:37 GMT"; two digits are the year next to now. */
static int64_t rfc850(struct cursor *c, struct civil *date)
{
	date->day = (int)number(c, 2);
	expect(c, "-");
	date->month = month(c);
	expect(c, "-");
	date->year = number(c, 2);
	date->year += date->year < 70 ? 2000 : 1900;
	expect(c, " ");

	int64_t seconds = time_of_day(c);

	expect(c, " GMT");
	return seconds;
}

/* Behind "Sun ": "Nov  6 08:49:37 1994". */
static int64_t asctime_date(struct cursor *c, struct civil *date)
{
	date->month = month(c);
	expect(c, " ");
	if (!c->bad && c->at < c->end && *c->at == ' ') {
		c->at++;
		date->day = (int)number(c, 1);
	} else {
		date->day = (int)number(c, 2);
	}
	expect(c, " ");

	int64_t seconds = time_of_day(c);

	expect(c, " ");
	date->year = number(c, 4);
	return seconds;
}

int64_t apus_http_date_parse(struct apus_http_text text)
{
	struct cursor c = {.at = text.at, .end = text.at + text.len};
	const char *comma = text.len ? memchr(text.at, ',', text.len) : NULL;
	struct civil date = {0};
	int64_t seconds;

	if (text.len < 4)
		return -EINVAL;
	if (!comma) {
		c.at += 3;
		expect(&c, " ");
		seconds = asctime_date(&c, &date);
	} else {
		c.at = comma;
		expect(&c, ", ");
		seconds = comma - text.at == 3 ? imf_fixdate(&c, &date) : rfc850(&c, &date);
	}
	if (c.bad || c.at != c.end || date.day < 1 || date.day > 31 || date.year < 1970)
		return -EINVAL;
	return days_of(date) * DAY_SECONDS + seconds;
}
