import json

from hublog.adx import MAPPING_NAME, ingestion_mapping
from hublog.capture.columns import COLUMNS, TABLE


def test_the_mapping_has_every_column_once_in_the_order_of_the_table():
    assert [element["column"] for element in ingestion_mapping()] == [column.name for column in COLUMNS]


def test_each_element_has_the_keys_and_types_that_adx_expects():
    assert ingestion_mapping()[0] == {
        "column": "timestamp",
        "datatype": "datetime",
        "Properties": {"Path": "$.timestamp"},
    }
    types = {element["datatype"] for element in ingestion_mapping()}
    assert types == {"datetime", "string", "int", "long", "real", "bool", "dynamic"}


def test_every_path_is_the_name_of_its_column():
    assert all(element["Properties"] == {"Path": f"$.{element['column']}"} for element in ingestion_mapping())


def test_the_mapping_is_plain_json_and_the_callers_own():
    assert json.loads(json.dumps(ingestion_mapping())) == ingestion_mapping()
    ingestion_mapping().clear()
    assert len(ingestion_mapping()) == len(COLUMNS)


def test_the_mapping_is_named_after_the_table():
    assert f"{TABLE}Mapping" == MAPPING_NAME == "PipelineLogsMapping"
