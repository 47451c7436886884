/*
 * test/fuzz/fuzz_csv.c: the csv reader.
 */
#include "../fuzz/fuzz_rows.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const LdrColumnName columns[] = {{"a", false}, {"b", false}, {"js", true},
	{"c\"d", false}};
	LdrReaderOptions header = {columns, 4, 0, false};
	LdrReaderOptions none = {columns, 2, ';', true};

	fuzz_rows(LDR_CSV, &header, data, size);
	fuzz_rows(LDR_CSV, &none, data, size);
	return 0;
}
