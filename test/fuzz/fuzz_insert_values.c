/*
 * test/fuzz/fuzz_insert_values.c: the insert_values reader.
 */
#include "../fuzz/fuzz_rows.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const LdrColumnName columns[] = {{"a", false}, {"b", false}, {"js", true},
	{"c\"d", false}};
	LdrReaderOptions options = {columns, 4, 0, false};

	fuzz_rows(LDR_INSERT_VALUES, &options, data, size);
	return 0;
}
